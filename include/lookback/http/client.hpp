#pragma once
// HTTP client on libcurl. One Client is used by one thread at a time and keeps its connection; make
// one a thread.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::http {

/// Gives the token for a request. `refused`: the one that it gave before was answered with 401, so it may have been replaced
/// meanwhile. Called by the client's thread.
using TokenSource = std::function<Result<std::string>(bool refused)>;

/// Whether requests go through the proxy that the user has set.
enum class Proxy {
  none,         ///< daemons talk to each other directly
  environment,  ///< http_proxy, https_proxy, all_proxy and no_proxy, as curl reads them; never for this machine's own addresses
};

struct ClientOptions {
  std::string base_url;  ///< "http://127.0.0.1:7400"
  std::string token;     ///< empty: none
  TokenSource token_source{};  ///< in place of `token`
  std::string ca_file;   ///< PEM; empty: the system's
  Proxy proxy = Proxy::none;
  /// A number, "10.0.0.7": connects there whatever the URL's host is, which still names the peer in its certificate and in
  /// the Host header. Empty: where the host's name leads.
  std::string connect_address{};
  int64_t connect_timeout_ms = 5'000;
  int64_t total_timeout_ms = 30'000;  ///< 0: none (streams)
  int64_t stall_timeout_ms = 30'000;  ///< no byte for this long ends a transfer; 0: never
  /// A transfer that goes on for longer than twice stall_timeout_ms with fewer bytes a second than
  /// this on average ends too; 0: never.
  uint64_t least_bytes_per_second = 0;
};

struct ClientResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< lower-case names
  std::string body;
  int64_t sent_ns = 0, received_ns = 0;  ///< CLOCK_REALTIME around the exchange
};

/// What one request has beside what the client gives to all.
struct RequestExtras {
  std::vector<std::pair<std::string, std::string>> headers{};  ///< in place of the client's own of that name
  std::optional<std::string> authorization{};                  ///< the header's value in place of the client's token; empty: no such header
};

class Client {
 public:
  [[nodiscard]] static Result<Client> create(ClientOptions options);
  /// Any status is a response, not an error. unreachable: no connection, a time-out; the message
  /// names the URL. Bodies over `body_limit` are an error of kind corrupt.
  [[nodiscard]] Result<ClientResponse> request(const std::string& method, const std::string& path,
                                               const std::string& body = {},
                                               uint64_t body_limit = 64ULL << 20,
                                               const RequestExtras& extras = {});
  /// Like request, but a status of 400 and above becomes an Error: kind by status (status.hpp), message from the
  /// problem document.
  [[nodiscard]] Result<std::string> get(const std::string& path, uint64_t body_limit = 64ULL << 20);
  [[nodiscard]] Result<std::string> send(const std::string& method, const std::string& path,
                                         const std::string& json_body);
  /// Streams a response body into `sink`; statuses as in get(). `cancelled` may be set by any
  /// thread.
  [[nodiscard]] Result<ClientResponse> download(
      const std::string& path, const std::function<Result<>(std::span<const std::byte>)>& sink,
      const std::atomic<bool>* cancelled = nullptr, const RequestExtras& extras = {});
  /// Any status is a response, as in request(), whose body goes to `out`; for binary bodies and for
  /// what must end when `cancelled` is set.
  [[nodiscard]] Result<ClientResponse> fetch(const std::string& method, const std::string& path,
                                             const std::string& body, uint64_t body_limit,
                                             std::vector<std::byte>& out,
                                             const std::atomic<bool>* cancelled = nullptr,
                                             const RequestExtras& extras = {});
  /// The Error that a response with a status of 400 and above stands for, as get() gives it.
  [[nodiscard]] static Error error_of(const ClientResponse& response, const std::string& what);
  /// Streams a request body from `source` (0 at the end).
  [[nodiscard]] Result<std::string> upload(
      const std::string& method, const std::string& path,
      const std::function<Result<size_t>(std::span<std::byte>)>& source,
      const std::atomic<bool>* cancelled = nullptr, const RequestExtras& extras = {});
  [[nodiscard]] const ClientOptions& options() const;
  /// The last exchange failed because nobody listens there: waiting would not help.
  [[nodiscard]] bool was_refused() const;

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

 private:
  Client();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

[[nodiscard]] std::string url_encode(std::string_view text);

}  // namespace lookback::http
