// What a connection does on a thread of its own: uploads, which read as their handler asks for it,
// and streamed responses.
#include <boost/asio/post.hpp>

#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"
#include "session.hpp"

namespace lookback::http {

namespace asio = boost::asio;
using std::chrono::steady_clock;

namespace {

constexpr size_t kUploadChunk = 256 << 10;

}  // namespace

Result<size_t> Session::read_upload(std::span<std::byte> out) {
  if (out.empty()) return size_t{0};
  for (;;) {
    if (reader_.body_done()) return size_t{0};
    if (!input().empty()) {
      const auto step =
          reader_.read_body(input(), std::span(reinterpret_cast<char*>(out.data()), out.size()));
      consume(step.consumed);
      if (step.outcome == RequestReader::Outcome::refused)
        return fail(ErrorKind::invalid, "{}", reader_.refusal().detail);
      upload_bytes_ += step.produced;
      if (upload_bytes_ > core_.body_limit(*entry_))
        return fail(ErrorKind::invalid, "the body is larger than {} bytes", core_.body_limit(*entry_));
      if (step.produced > 0) return step.produced;
      if (step.consumed > 0) continue;
    }
    if (continue_pending_) {
      continue_pending_ = false;
      TRY(transport_->write_all({"HTTP/1.1 100 Continue\r\n\r\n"}, stall_ms()));
    }
    if (input_begin_ > 0) {
      input_.erase(0, input_begin_);
      input_begin_ = 0;
    }
    const size_t old = input_.size();
    input_.resize(old + kUploadChunk);
    const auto started = steady_clock::now();
    const auto n = transport_->read_some(std::span(input_).subspan(old), stall_ms());
    input_.resize(old + n.value_or(0));
    if (!n) return n;
    if (*n == 0)
      return fail(ErrorKind::cancelled,
                  "the client closed the connection in the middle of the body");
    upload_waited_ns_ += (steady_clock::now() - started) / std::chrono::nanoseconds(1);
    const int64_t allowed_ns =
        core_.options.stall_timeout_ms * 1'000'000 +
        static_cast<int64_t>(upload_bytes_ / kLeastBytesPerSecond) * 1'000'000'000;
    if (upload_waited_ns_ > allowed_ns) {
      ++core_.timeouts;
      return fail(ErrorKind::cancelled, "the client sends too slowly");
    }
  }
}

void Session::run_on_thread(Request& request, const RouteEntry& entry) {
  request.read_body = [this](std::span<std::byte> out) { return read_upload(out); };
  Response response = run_handler(entry.handler, request);
  const bool body_unread = !reader_.body_done();
  if (body_unread || core_.stopping) keep_alive_ = false;
  linger_ = body_unread;
  if (response.stream && !is_head_) return respond_streaming(response);
  // The rest is an ordinary response, which needs no thread.
  asio::post(io_,
             [self = shared_from_this(), shared = std::make_shared<Response>(std::move(response)),
              body_unread] { self->respond(std::move(*shared), body_unread); });
}

void Session::respond_streaming(Response& response) {
  BodyFraming framing = BodyFraming::length;
  if (!response.content_length)
    framing = version_ >= 11 ? BodyFraming::chunked : BodyFraming::until_close;
  if (framing == BodyFraming::until_close || core_.stopping) keep_alive_ = false;
  std::string head =
      format_response_head(response, {version_, keep_alive_, framing, response.content_length});
  bool begun = false;
  const auto streamed = stream_body(response, framing, std::move(head), begun);
  if (!streamed && !begun && streamed.error().kind != ErrorKind::cancelled) {
    asio::post(
        io_, [self = shared_from_this(), problem = Response::problem(streamed.error())]() mutable {
          self->respond(std::move(problem), !self->reader_.body_done());
        });
    return;
  }
  if (!streamed) {
    if (streamed.error().kind == ErrorKind::cancelled) {
      log_debug("a response to {} was given up: {}", peer_.address, streamed.error().message);
    } else {
      log_warning("a response to {} ends early: {}", peer_.address, streamed.error().message);
    }
    // Without a length or a last chunk, only a reset tells the client that something is missing.
    if (framing == BodyFraming::until_close) transport_->reset_on_close();
  }
  give_back(streamed.has_value());
}

Result<> Session::stream_body(Response& response, BodyFraming framing, std::string head,
                              bool& begun) {
  uint64_t left = response.content_length.value_or(0);
  Pace pace(core_.options.stall_timeout_ms, kLeastReadBytesPerSecond);
  std::optional<Error>
      broken;  // what the client's side failed with, whatever the handler makes of it
  const BodyWriter writer = [&](std::span<const std::byte> data) -> Result<> {
    if (data.empty()) {  // any thread may ask this
      if (core_.stopping) return fail(ErrorKind::cancelled, "the server is stopping");
      if (transport_->peer_gone()) return fail(ErrorKind::cancelled, "the client is gone");
      return {};
    }
    if (broken) return tl::make_unexpected(*broken);
    if (core_.stopping) {
      broken = Error{ErrorKind::cancelled, "the server is stopping"};
      return tl::make_unexpected(*broken);
    }
    const std::string_view text = as_text(data);
    begun = true;
    Result<> written;
    if (framing == BodyFraming::chunked) {
      const std::string size = fmt::format("{:x}\r\n", text.size());
      written = transport_->write_all({head, size, text, "\r\n"}, stall_ms(), &pace);
    } else {
      if (framing == BodyFraming::length) {
        if (text.size() > left) {
          broken = Error{ErrorKind::failed, "the body is longer than announced"};
          return tl::make_unexpected(*broken);
        }
        left -= text.size();
      }
      written = transport_->write_all({head, text}, stall_ms(), &pace);
    }
    head.clear();
    if (!written) broken = written.error();
    return written;
  };
  Result<> result;
  try {
    result = response.stream(writer);
  } catch (const std::exception& e) {
    return fail(ErrorKind::failed, "the handler threw: {}", e.what());
  }
  if (broken) return tl::make_unexpected(*broken);
  TRY(result);
  if (framing == BodyFraming::length && left > 0)
    return fail(ErrorKind::failed, "the body is {} bytes shorter than announced", left);
  const std::string_view end = framing == BodyFraming::chunked ? "0\r\n\r\n" : "";
  if (head.empty() && end.empty()) return {};
  return transport_->write_all({head, end}, stall_ms());
}

void Session::give_back(bool keep) {
  asio::post(io_, [self = shared_from_this(), keep] {
    if (!keep) return self->close_now();
    self->phase_ = Phase::writing;
    self->finish_exchange();
  });
}

}  // namespace lookback::http
