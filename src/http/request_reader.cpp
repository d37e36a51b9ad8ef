#include "request_reader.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstring>

namespace lookback::http {

namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using beast::error_code;

namespace {

constexpr size_t kLastChunkBytes = 5;

std::string to_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// Collects the head and hands body bytes to the output of the moment.
class Parser final : public bhttp::basic_parser<true> {
 public:
  Parser() {
    header_limit(kMaxHeaderBytes);
    body_limit(boost::none);  // the session knows the limit of the route
    eager(true);
  }

  std::string method, target;
  std::map<std::string, std::string> headers;
  unsigned host_fields = 0, version = 11;
  bool head_done = false;
  std::span<char> output;
  size_t produced = 0;

 private:
  void on_request_impl(bhttp::verb, beast::string_view method_text, beast::string_view target_text,
                       int version_number, error_code& ec) override {
    method.assign(method_text.data(), method_text.size());
    target.assign(target_text.data(), target_text.size());
    version = static_cast<unsigned>(version_number);
    ec = {};
  }
  void on_response_impl(int, beast::string_view, int, error_code& ec) override {
    ec = bhttp::error::bad_method;
  }
  void on_field_impl(bhttp::field, beast::string_view name, beast::string_view value,
                     error_code& ec) override {
    ec = {};
    if (head_done) return;  // trailers are read and forgotten
    const std::string key = to_lower({name.data(), name.size()});
    if (key == "host") ++host_fields;
    std::string& slot = headers[key];
    if (!slot.empty()) slot += ", ";
    slot.append(value.data(), value.size());
  }
  void on_header_impl(error_code& ec) override {
    head_done = true;
    ec = {};
  }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code& ec) override {
    ec = {};
  }
  std::size_t on_body_impl(beast::string_view body, error_code& ec) override {
    return take(body, ec);
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code& ec) override { ec = {}; }
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, error_code& ec) override {
    return take(body, ec);
  }
  void on_finish_impl(error_code& ec) override { ec = {}; }

  std::size_t take(beast::string_view body, error_code& ec) {
    const size_t n = std::min(body.size(), output.size() - produced);
    if (n > 0) std::memcpy(output.data() + produced, body.data(), n);
    produced += n;
    // A full output stops the parser here; it goes on with the next call.
    ec = n < body.size() ? error_code(bhttp::error::need_buffer) : error_code();
    return n;
  }
};

}  // namespace

struct RequestReader::Impl {
  Parser parser;
  RequestHead head;
  Refusal refusal;
  bool started = false;
  size_t head_bytes = 0;
  size_t blank_lines = 0;

  Step refuse(int status, std::string detail) {
    refusal = {status, std::move(detail)};
    return {Outcome::refused, 0, 0};
  }

  /// The rules that Beast's grammar does not hold a request to.
  std::optional<Refusal> finish_head() {
    head.method = std::move(parser.method);
    head.headers = std::move(parser.headers);
    head.version = static_cast<int>(parser.version);
    head.keep_alive = parser.keep_alive();
    if (parser.target.size() > kMaxTargetBytes)
      return Refusal{414, "the request target is longer than 8 KiB"};
    if (parser.host_fields > 1 || (parser.host_fields == 0 && head.version >= 11))
      return Refusal{400, "a request needs exactly one Host header"};
    if (head.method == "CONNECT") return Refusal{501, "CONNECT is not supported"};
    if (const auto it = head.headers.find("transfer-encoding"); it != head.headers.end()) {
      // Anything but plain "chunked" leaves the body's end to guesswork (RFC 9112 section 6.1).
      if (to_lower(it->second) != "chunked")
        return Refusal{501, "only 'chunked' is supported as Transfer-Encoding"};
      if (head.version < 11) return Refusal{400, "Transfer-Encoding in an HTTP/1.0 request"};
    }
    if (const auto it = head.headers.find("expect");
        it != head.headers.end() && head.version >= 11) {
      if (to_lower(it->second) != "100-continue")
        return Refusal{417, "only 100-continue can be expected"};
      head.expects_continue = true;
    }
    if (const auto length = parser.content_length()) head.content_length = *length;
    head.has_body = parser.chunked() || head.content_length.value_or(0) > 0;
    auto target = parse_target(parser.target);
    if (!target) return Refusal{400, target.error().message};
    head.target = std::move(*target);
    return std::nullopt;
  }

  [[nodiscard]] static Refusal head_refusal(const error_code& ec) {
    if (ec == bhttp::error::header_limit)
      return {431, "the request's headers are larger than 64 KiB"};
    if (ec == bhttp::error::bad_version) return {505, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
    return {400, "this is not a well-formed HTTP request: " + ec.message()};
  }
};

RequestReader::RequestReader() : impl_(std::make_unique<Impl>()) {}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;
RequestReader& RequestReader::operator=(RequestReader&&) noexcept = default;

RequestReader::Step RequestReader::read_head(std::string_view input) {
  Impl& m = *impl_;
  size_t skipped = 0;
  if (!m.started) {
    // Empty lines before a request line are to be ignored (RFC 9112 section 2.2), but not for ever.
    while (input.size() >= 2 && input[0] == '\r' && input[1] == '\n') {
      if (++m.blank_lines > 4)
        return m.refuse(400, "only empty lines came where a request was expected");
      input.remove_prefix(2);
      skipped += 2;
    }
    if (input.empty() || input == "\r") return {Outcome::need_more, skipped, 0};
  }
  if (m.parser.method.empty() && input.size() > kMaxTargetBytes + 64 &&
      input.substr(0, kMaxTargetBytes + 64).find('\n') == std::string_view::npos) {
    return m.refuse(414, "the request line is longer than 8 KiB");
  }
  m.started = true;
  error_code ec;
  // Up to the end of the head only: the body goes where read_body() says.
  m.parser.eager(false);
  size_t consumed = 0;
  while (!m.parser.head_done) {
    const size_t n = m.parser.put(
        boost::asio::const_buffer(input.data() + consumed, input.size() - consumed), ec);
    consumed += n;
    m.head_bytes += n;
    if (ec || m.head_bytes > kMaxHeaderBytes) break;
  }
  m.parser.eager(true);
  // The parser's own limit holds only for what it has not consumed yet.
  const bool too_large =
      m.head_bytes > kMaxHeaderBytes ||
      (ec == bhttp::error::need_more && m.head_bytes + (input.size() - consumed) > kMaxHeaderBytes);
  if (too_large) ec = bhttp::error::header_limit;
  if (ec == bhttp::error::need_more) return {Outcome::need_more, skipped + consumed, 0};
  if (ec) {
    m.refusal = Impl::head_refusal(ec);
    return {Outcome::refused, skipped + consumed, 0};
  }
  if (auto refusal = m.finish_head()) {
    m.refusal = std::move(*refusal);
    return {Outcome::refused, skipped + consumed, 0};
  }
  return {Outcome::head_done, skipped + consumed, 0};
}

RequestReader::Step RequestReader::read_body(std::string_view input, std::span<char> output) {
  Impl& m = *impl_;
  if (m.parser.is_done()) return {Outcome::body_done, 0, 0};
  if (input.empty()) return {Outcome::need_more, 0, 0};
  // Beast asserts that the last chunk's header comes with what ends it, which a client that sends byte
  // by byte disproves. At least "0 CR LF CR LF" is still to come in any chunked body, so waiting is safe.
  if (m.parser.chunked() && input.size() < kLastChunkBytes) return {Outcome::need_more, 0, 0};
  if (output.empty()) return {Outcome::output_full, 0, 0};
  m.parser.output = output;
  m.parser.produced = 0;
  error_code ec;
  const size_t consumed = m.parser.put(boost::asio::const_buffer(input.data(), input.size()), ec);
  const size_t produced = std::exchange(m.parser.produced, 0);
  m.parser.output = {};
  Step step{Outcome::need_more, consumed, produced};
  if (ec == bhttp::error::need_buffer) {
    step.outcome = Outcome::output_full;
  } else if (ec == bhttp::error::need_more) {
    if (input.size() - consumed >= kMaxHeaderBytes) {
      m.refusal = {400, "a chunk's header or the trailers are larger than 64 KiB"};
      step.outcome = Outcome::refused;
    }
  } else if (ec) {
    m.refusal = {400, "the request's body is not well-formed: " + ec.message()};
    step.outcome = Outcome::refused;
  } else if (m.parser.is_done()) {
    step.outcome = Outcome::body_done;
  }
  return step;
}

RequestHead& RequestReader::head() {
  return impl_->head;
}
bool RequestReader::body_done() const {
  return impl_->parser.is_done();
}
const Refusal& RequestReader::refusal() const {
  return impl_->refusal;
}

}  // namespace lookback::http
