#include "lookback/http/client.hpp"

#include <curl/curl.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "http/header_text.hpp"
#include "http/system_ca.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/version.hpp"
#include "lookback/http/own_host.hpp"
#include "lookback/http/status.hpp"
#include "lookback/http/url.hpp"

namespace lookback::http {

namespace {

constexpr int kPollMs = 100;  // how soon a cancellation is seen
constexpr size_t kMaxProblemBytes = 64 << 10;
constexpr size_t kMaxHeaders = 256;

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct MultiDeleter {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

/// OpenSSL writes to sockets without MSG_NOSIGNAL: while libcurl runs, this thread holds SIGPIPE
/// back and then swallows the one that came from there. The process's own disposition is not the
/// library's to change.
class SigpipeGuard {
 public:
  SigpipeGuard() {
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~SigpipeGuard() {
    if (!was_pending_) {
      const timespec now{0, 0};
      while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeGuard(const SigpipeGuard&) = delete;
  SigpipeGuard& operator=(const SigpipeGuard&) = delete;

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

/// Anything else in a header could begin another.
Result<> check_token(const std::string& token) {
  if (std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; })) return {};
  return fail(ErrorKind::invalid, "the token holds blanks or control characters");
}

/// One exchange: what the callbacks of libcurl need.
struct Exchange {
  ClientResponse response;
  CURL* handle = nullptr;
  const std::function<Result<>(std::span<const std::byte>)>* sink = nullptr;
  const std::function<Result<size_t>(std::span<std::byte>)>* source = nullptr;
  std::vector<std::byte>* out = nullptr;
  std::string_view body;
  uint64_t body_limit = 0;
  const RequestExtras* extras = nullptr;
  std::optional<Error> error;  // our own side's
  bool moved = true;           // a byte came or went since the last look
  uint64_t bytes = 0;          // of bodies, both ways

  [[nodiscard]] int status() const {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return static_cast<int>(status);
  }

  /// What the peer announces, so that the body is not moved while it grows.
  void reserve(uint64_t limit) const {
    curl_off_t length = 0;
    if (curl_easy_getinfo(handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) == CURLE_OK &&
        length > 0)
      out->reserve(std::min<uint64_t>(static_cast<uint64_t>(length), limit));
  }

  static size_t on_header(char* data, size_t, size_t size, void* self_) {
    auto& self = *static_cast<Exchange*>(self_);
    self.moved = true;
    const std::string_view line = trim({data, size});
    if (line.starts_with("HTTP/")) {
      self.response.headers.clear();  // those of a "100 Continue" do not count
      return size;
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || self.response.headers.size() >= kMaxHeaders) return size;
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    self.response.headers[name] = trim(line.substr(colon + 1));
    return size;
  }

  static size_t on_body(char* data, size_t, size_t size, void* self_) {
    auto& self = *static_cast<Exchange*>(self_);
    self.moved = true;
    self.bytes += size;
    if (self.sink != nullptr && self.status() < 400) {
      if (auto taken = (*self.sink)(std::as_bytes(std::span(data, size))); !taken) {
        self.error = std::move(taken).error();
        return 0;
      }
      return size;
    }
    const bool to_vector = self.out != nullptr && self.status() < 400;
    const uint64_t limit = self.sink != nullptr || (self.out != nullptr && !to_vector)
                               ? kMaxProblemBytes
                               : self.body_limit;
    const uint64_t held = to_vector ? self.out->size() : self.response.body.size();
    if (size > limit - std::min(limit, held)) {
      self.error =
          Error{ErrorKind::corrupt,
                fmt::format("the answer is larger than the {} bytes expected at most", limit)};
      return 0;
    }
    if (to_vector) {
      const auto part = std::as_bytes(std::span(data, size));
      if (held == 0) self.reserve(limit);
      self.out->insert(self.out->end(), part.begin(), part.end());
    } else {
      self.response.body.append(data, size);
    }
    return size;
  }

  static size_t on_read(char* out, size_t, size_t size, void* self_) {
    auto& self = *static_cast<Exchange*>(self_);
    self.moved = true;
    if (self.source == nullptr) return 0;
    auto n = (*self.source)(std::as_writable_bytes(std::span(out, size)));
    if (!n) {
      self.error = std::move(n).error();
      return CURL_READFUNC_ABORT;
    }
    LOOKBACK_CHECK(*n <= size);
    self.bytes += *n;
    return *n;
  }
};

}  // namespace

struct Client::Impl {
  ClientOptions options;
  std::unique_ptr<CURLM, MultiDeleter> multi;
  std::unique_ptr<CURL, EasyDeleter> easy;
  char error_text[CURL_ERROR_SIZE] = {};
  bool refused = false;
  bool is_own_machine = false;  // what the base URL names

  [[nodiscard]] Error curl_error(CURLcode code, const std::string& url) const {
    const std::string_view detail = error_text[0] != 0 ? error_text : curl_easy_strerror(code);
    switch (code) {
      case CURLE_PEER_FAILED_VERIFICATION:
        return {ErrorKind::unreachable,
                fmt::format("the TLS certificate of {} is not trusted ({}); name the CA that "
                            "signed it with --ca-file",
                            url, detail)};
      case CURLE_SSL_CACERT_BADFILE:
        return {ErrorKind::invalid,
                fmt::format("cannot use the CA file {}: {}",
                            options.ca_file.empty() ? system_ca_file() : options.ca_file, detail)};
      case CURLE_URL_MALFORMAT:
      case CURLE_UNSUPPORTED_PROTOCOL:
        return {ErrorKind::invalid, fmt::format("'{}' is not a URL to use: {}", url, detail)};
      case CURLE_OUT_OF_MEMORY:
        return {ErrorKind::failed, fmt::format("{}: {}", url, detail)};
      default:
        return {ErrorKind::unreachable, fmt::format("{} does not answer: {}", url, detail)};
    }
  }

  [[nodiscard]] bool is_too_slow(std::chrono::steady_clock::duration elapsed,
                                 uint64_t bytes) const {
    if (options.least_bytes_per_second == 0 || options.stall_timeout_ms <= 0) return false;
    const double seconds = std::chrono::duration<double>(elapsed).count();
    return seconds * 1000 > 2 * static_cast<double>(options.stall_timeout_ms) &&
           static_cast<double>(bytes) <
               seconds * static_cast<double>(options.least_bytes_per_second);
  }

  /// Runs the prepared easy handle to its end.
  [[nodiscard]] Result<> perform(Exchange& exchange, const std::string& url,
                                 const std::atomic<bool>* cancelled) {
    const SigpipeGuard guard;
    using std::chrono::steady_clock;
    error_text[0] = 0;
    refused = false;
    if (const auto code = curl_multi_add_handle(multi.get(), easy.get()); code != CURLM_OK)
      return fail(ErrorKind::failed, "{}: {}", url, curl_multi_strerror(code));
    const auto started = steady_clock::now();
    auto last_progress = started;
    std::optional<Error> given_up;
    CURLcode outcome = CURLE_OK;
    bool done = false;
    exchange.response.sent_ns = Clock::system().realtime_ns();
    while (!done && !given_up) {
      int running = 0;
      CURLMcode code = curl_multi_perform(multi.get(), &running);
      for (int left = 0; const CURLMsg* message = curl_multi_info_read(multi.get(), &left);) {
        if (message->msg == CURLMSG_DONE) {
          outcome = message->data.result;
          done = true;
        }
      }
      if (done) break;
      const auto now = steady_clock::now();
      if (std::exchange(exchange.moved, false)) last_progress = now;
      if (cancelled != nullptr && *cancelled) {
        given_up = Error{ErrorKind::cancelled, "cancelled"};
      } else if (options.stall_timeout_ms > 0 &&
                 now - last_progress > std::chrono::milliseconds(options.stall_timeout_ms)) {
        given_up = Error{ErrorKind::unreachable, fmt::format("{} sent nothing for {} s", url,
                                                             options.stall_timeout_ms / 1000.0)};
      } else if (is_too_slow(now - started, exchange.bytes)) {
        given_up = Error{
            ErrorKind::unreachable,
            fmt::format("{} is too slow: {} bytes in {} s", url, exchange.bytes,
                        std::chrono::duration_cast<std::chrono::seconds>(now - started).count())};
      } else {
        if (code == CURLM_OK) code = curl_multi_poll(multi.get(), nullptr, 0, kPollMs, nullptr);
        if (code != CURLM_OK)
          given_up =
              Error{ErrorKind::failed, fmt::format("{}: {}", url, curl_multi_strerror(code))};
      }
    }
    exchange.response.received_ns = Clock::system().realtime_ns();
    curl_multi_remove_handle(multi.get(), easy.get());
    if (exchange.error) return tl::make_unexpected(*exchange.error);
    if (given_up) return tl::make_unexpected(*given_up);
    if (outcome != CURLE_OK) {
      long os_error = 0;
      curl_easy_getinfo(easy.get(), CURLINFO_OS_ERRNO, &os_error);
      refused = outcome == CURLE_COULDNT_CONNECT && os_error == ECONNREFUSED;
      return tl::make_unexpected(curl_error(outcome, url));
    }
    exchange.response.status = exchange.status();
    return {};
  }

  /// The Authorization header of a request; empty: none.
  [[nodiscard]] Result<std::string> authorization(const Exchange& exchange, bool refused_before) const {
    if (exchange.extras != nullptr && exchange.extras->authorization) return *exchange.extras->authorization;
    std::string token = options.token;
    if (options.token_source) {
      TRY_ASSIGN(token, options.token_source(refused_before));
    }
    TRY(check_token(token));
    return token.empty() ? std::string() : "Bearer " + token;
  }

  [[nodiscard]] Result<ClientResponse> run(const std::string& method, const std::string& path,
                                           Exchange& exchange, const std::atomic<bool>* cancelled) {
    TRY_ASSIGN(const std::string credentials, authorization(exchange, false));
    TRY(run_once(method, path, exchange, credentials, cancelled));
    const bool has_own = exchange.extras != nullptr && exchange.extras->authorization;
    if (exchange.response.status != 401 || !options.token_source || has_own || exchange.source != nullptr)
      return std::move(exchange.response);
    TRY_ASSIGN(const std::string renewed, authorization(exchange, true));
    if (renewed == credentials) return std::move(exchange.response);
    exchange.response = {};
    TRY(run_once(method, path, exchange, renewed, cancelled));
    return std::move(exchange.response);
  }

  [[nodiscard]] std::unique_ptr<curl_slist, ListDeleter> headers_of(const std::string& method, const Exchange& exchange,
                                                                    const std::string& credentials) const {
    const bool uploads = exchange.source != nullptr;
    std::vector<std::pair<std::string, std::string>> all;
    if (!credentials.empty()) all.emplace_back("Authorization", credentials);
    if (has_body(method, exchange)) all.emplace_back("Content-Type", uploads ? "application/octet-stream" : "application/json");
    if (exchange.extras != nullptr) {
      for (const auto& header : exchange.extras->headers) {
        std::erase_if(all, [&](const auto& own) { return curl_strequal(own.first.c_str(), header.first.c_str()) != 0; });
        all.push_back(header);
      }
    }
    std::unique_ptr<curl_slist, ListDeleter> list;
    const auto add = [&](const std::string& line) {
      curl_slist* longer = curl_slist_append(list.get(), line.c_str());
      LOOKBACK_CHECK(longer != nullptr);
      (void)list.release();
      list.reset(longer);
    };
    for (const auto& [name, value] : all) add(name + (value.empty() ? ";" : ": " + value));
    if (!uploads) add("Expect:");
    return list;
  }

  [[nodiscard]] static bool has_body(const std::string& method, const Exchange& exchange) {
    return exchange.source != nullptr || !exchange.body.empty() || method == "POST" || method == "PUT";
  }

  [[nodiscard]] Result<> run_once(const std::string& method, const std::string& path, Exchange& exchange,
                                  const std::string& credentials, const std::atomic<bool>* cancelled) {
    CURL* handle = easy.get();
    exchange.handle = handle;
    curl_easy_reset(handle);  // keeps connections, forgets options
    const std::string url = options.base_url + path;
    const auto headers = headers_of(method, exchange, credentials);
    const bool uploads = exchange.source != nullptr;

    std::unique_ptr<curl_slist, ListDeleter> connect_to;
    if (!options.connect_address.empty()) {
      const bool v6 = options.connect_address.find(':') != std::string::npos;
      // Any host and port of the URL; the port stays as it is.
      const std::string to =
          fmt::format("::{}{}{}:", v6 ? "[" : "", options.connect_address, v6 ? "]" : "");
      connect_to.reset(curl_slist_append(nullptr, to.c_str()));
      LOOKBACK_CHECK(connect_to != nullptr);
      curl_easy_setopt(handle, CURLOPT_CONNECT_TO, connect_to.get());
    }
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error_text);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    if (options.proxy == Proxy::none || is_own_machine) curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_USERAGENT, ("lookback/" + std::string(version())).c_str());
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(options.connect_timeout_ms));
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(options.total_timeout_ms));
    const std::string& ca_file = options.ca_file.empty() ? system_ca_file() : options.ca_file;
    if (!ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, ca_file.c_str());
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &Exchange::on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Exchange::on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
    if (uploads) {
      curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(handle, CURLOPT_READFUNCTION, &Exchange::on_read);
      curl_easy_setopt(handle, CURLOPT_READDATA, &exchange);
    } else if (has_body(method, exchange)) {
      curl_easy_setopt(handle, CURLOPT_POST, 1L);
      curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(exchange.body.size()));
      curl_easy_setopt(handle, CURLOPT_POSTFIELDS, exchange.body.data());
    } else if (method == "HEAD") {
      curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    }
    if (method != "HEAD") curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method.c_str());
    return perform(exchange, url, cancelled);
  }
};

Client::Client() : impl_(std::make_unique<Impl>()) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<Client> Client::create(ClientOptions options) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (global != CURLE_OK)
    return fail(ErrorKind::failed, "cannot set up libcurl: {}", curl_easy_strerror(global));
  TRY_ASSIGN(const Url url, parse_url(options.base_url, "daemon"));
  options.base_url = url.base();
  TRY(check_token(options.token));
  Client client;
  const auto host = authority_host(url.host);
  client.impl_->is_own_machine = host && is_own_host(*host);
  client.impl_->options = std::move(options);
  client.impl_->multi.reset(curl_multi_init());
  client.impl_->easy.reset(curl_easy_init());
  if (!client.impl_->multi || !client.impl_->easy)
    return fail(ErrorKind::failed, "cannot set up an HTTP client: no memory");
  return client;
}

const ClientOptions& Client::options() const {
  return impl_->options;
}
bool Client::was_refused() const {
  return impl_->refused;
}

Result<ClientResponse> Client::request(const std::string& method, const std::string& path,
                                       const std::string& body, uint64_t body_limit,
                                       const RequestExtras& extras) {
  Exchange exchange;
  exchange.extras = &extras;
  exchange.body = body;
  exchange.body_limit = body_limit;
  return impl_->run(method, path, exchange, nullptr);
}

Result<ClientResponse> Client::fetch(const std::string& method, const std::string& path,
                                     const std::string& body, uint64_t body_limit,
                                     std::vector<std::byte>& out,
                                     const std::atomic<bool>* cancelled,
                                     const RequestExtras& extras) {
  out.clear();
  Exchange exchange;
  exchange.extras = &extras;
  exchange.body = body;
  exchange.body_limit = body_limit;
  exchange.out = &out;
  return impl_->run(method, path, exchange, cancelled);
}

Error Client::error_of(const ClientResponse& response, const std::string& what) {
  const ErrorKind kind = kind_of_status(response.status);
  if (const auto document = parse_json(response.body, "the answer")) {
    if (const auto detail = json_get<std::string>(*document, "detail"); detail && !detail->empty())
      return {kind, *detail};
  }
  return {kind, fmt::format("{} answers with status {}", what, response.status)};
}

Result<std::string> Client::get(const std::string& path, uint64_t body_limit) {
  TRY_ASSIGN(ClientResponse response, request("GET", path, {}, body_limit));
  if (response.status >= 400)
    return tl::make_unexpected(error_of(response, impl_->options.base_url + path));
  return std::move(response.body);
}

Result<std::string> Client::send(const std::string& method, const std::string& path,
                                 const std::string& json_body) {
  TRY_ASSIGN(ClientResponse response, request(method, path, json_body));
  if (response.status >= 400)
    return tl::make_unexpected(error_of(response, impl_->options.base_url + path));
  return std::move(response.body);
}

Result<ClientResponse> Client::download(
    const std::string& path, const std::function<Result<>(std::span<const std::byte>)>& sink,
    const std::atomic<bool>* cancelled, const RequestExtras& extras) {
  Exchange exchange;
  exchange.extras = &extras;
  exchange.sink = &sink;
  TRY_ASSIGN(ClientResponse response, impl_->run("GET", path, exchange, cancelled));
  if (response.status >= 400)
    return tl::make_unexpected(error_of(response, impl_->options.base_url + path));
  return response;
}

Result<std::string> Client::upload(
    const std::string& method, const std::string& path,
    const std::function<Result<size_t>(std::span<std::byte>)>& source,
    const std::atomic<bool>* cancelled, const RequestExtras& extras) {
  Exchange exchange;
  exchange.extras = &extras;
  exchange.source = &source;
  exchange.body_limit = kMaxProblemBytes * 64;
  TRY_ASSIGN(ClientResponse response, impl_->run(method, path, exchange, cancelled));
  if (response.status >= 400)
    return tl::make_unexpected(error_of(response, impl_->options.base_url + path));
  return std::move(response.body);
}

}  // namespace lookback::http
