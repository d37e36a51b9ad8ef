#pragma once
// A small HTTP/1.1 server on Boost.Beast (RFC 9110, 9112), with TLS and bearer tokens. Beast stays
// behind this header. Handlers run on a pool of worker threads, never on an I/O thread; what may
// last (streamed responses, uploads) runs on threads of its own, at most max_streams of them (503
// beyond), so that a slow client never holds a worker. Bodies are streamed with back-pressure.
// Limits: 8 KiB request target (414), 64 KiB headers (431), max_body_bytes (413); idle, header
// (408) and stall time-outs. Web pages are kept out: 421 for a Host that is not the daemon's, 403 for
// a foreign Origin, 415 for a body of a type that a page may send unasked.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/http/roles.hpp"

namespace lookback::http {

struct Request {
  std::string method;                             ///< upper case
  std::string path;                               ///< decoded, without query; "/api/v1/nodes"
  std::map<std::string, std::string> parameters;  ///< from the route: "{name}" → "name"
  std::multimap<std::string, std::string> query;  ///< decoded
  std::map<std::string, std::string> headers;     ///< names in lower case
  std::string body;                               ///< empty for streamed uploads
  std::optional<uint64_t> content_length;         ///< as announced; nothing: chunked, or no body
  std::string peer_address;                       ///< "10.0.0.7"
  uint16_t peer_port = 0;
  int64_t arrived_ns =
      0;  ///< CLOCK_MONOTONIC when its headers were there: before it waited for a worker
  /// For routes registered with add_upload: reads the body as it comes; 0 at its end.
  std::function<Result<size_t>(std::span<std::byte>)> read_body;

  [[nodiscard]] std::optional<std::string> query_value(const std::string& key) const;
};

/// Writes response body bytes; waits while the client is slow; fails with kind cancelled once the
/// client is gone (or took nothing for stall_timeout_ms). An empty span writes nothing and only
/// asks whether the client is still there, which any thread may do while the stream lasts.
using BodyWriter = std::function<Result<>(std::span<const std::byte>)>;

/// Threads for what may last, by what it is: one kind must not keep out another.
enum class StreamPool {
  transfers,  ///< downloads, exports, archives on their way in
  orders,     ///< short requests that wait for something
  feeds,      ///< responses that go on until the client has enough
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::map<std::string, std::string> headers;
  std::string body;
  /// When set, the body is streamed by this function instead (chunked unless content_length is
  /// set). Trailers are not used: an error in mid-stream ends the connection without the last
  /// chunk, so that a client sees it; one before the first byte becomes a problem document.
  std::function<Result<>(const BodyWriter&)> stream;
  std::optional<uint64_t> content_length;
  StreamPool pool = StreamPool::transfers;  ///< of `stream`

  [[nodiscard]] static Response json(std::string text, int status = 200);
  [[nodiscard]] static Response text(std::string text, int status = 200);
  /// application/problem+json (RFC 9457) with the status that fits the kind: invalid 400,
  /// unauthorized 401, not_found 404, conflict 409, no_space 507, corrupt 422, unreachable 502,
  /// else 500.
  [[nodiscard]] static Response problem(const Error& error);
  /// The same with another status.
  [[nodiscard]] static Response problem(const Error& error, int status);
};

using Handler = std::function<Response(Request&)>;

/// What a route takes.
struct RouteOptions {
  /// Media types of the body, without parameters; empty: any. A page of another site may send a
  /// form or plain text without being asked, but none of these.
  std::vector<std::string> body_types{"application/json"};
  /// Larger bodies are refused (413); nothing: ServerOptions::max_body_bytes, or any size for an
  /// upload.
  std::optional<uint64_t> max_body_bytes{};
  StreamPool pool = StreamPool::transfers;  ///< where the handler of an upload route runs
};

struct TlsFiles {
  std::string certificate, key;  ///< PEM files
};

struct ServerOptions {
  std::string listen;  ///< "127.0.0.1:7400", "[::1]:7400", port 0 for any
  std::optional<TlsFiles> tls;
  std::string
      token;  ///< empty: no authentication. Otherwise every path but /healthz and /readyz needs it
  AccessRule further_tokens{};  ///< what tokens beside `token` may do; empty: nothing
  bool insecure = false;  ///< allows a non-loopback address without TLS
  /// Names that the daemon answers to beside the machine's own, its addresses and its certificate's.
  std::vector<std::string> allowed_hosts{};
  unsigned workers = 8;
  /// Beyond these, idle connections make room, first those that never showed a token; where none is
  /// idle, new ones wait in the kernel's backlog, or are closed where one address has its share.
  unsigned max_connections = 1024;
  unsigned max_connections_per_address = 512;
  unsigned max_streams = 256;  ///< transfers at a time
  unsigned max_orders = 64;
  unsigned max_feeds = 128;
  uint64_t max_body_bytes = 64ULL << 10;  ///< of a request that is not an upload
  int64_t header_timeout_ms = 10'000;     ///< from a request's first byte to the end of its headers
  int64_t idle_timeout_ms = 120'000;      ///< of a kept connection between requests
  int64_t stall_timeout_ms =
      60'000;  ///< a client that neither takes nor gives a byte for this long is dropped
};

struct ServerStats {
  uint64_t connections = 0, requests = 0;  ///< since the start
  uint64_t open_connections = 0, open_streams = 0;
  uint64_t timeouts = 0;  ///< connections dropped by a time-out (idle ones are not counted)
  uint64_t refused = 0;   ///< requests answered 503 because every stream or body slot was taken
  uint64_t evicted = 0;   ///< idle connections that made room for others
};

class Server {
 public:
  /// Binds at once. invalid: a non-loopback address without a token, or without TLS and `insecure`;
  /// an allowed host that is no name; the message says the ways out.
  [[nodiscard]] static Result<std::unique_ptr<Server>> create(ServerOptions options);
  virtual ~Server() = default;
  /// "/api/v1/snapshots/{name}/pcap". Before start() only. HEAD is answered from GET; OPTIONS, 404
  /// and 405 by the server.
  virtual void add(const std::string& method, const std::string& route, Handler handler,
                   RouteOptions options = {}) = 0;
  /// The same, but the body is not read before the handler runs (no size limit), and the handler
  /// has a thread of its own: also for requests that wait for something.
  virtual void add_upload(const std::string& method, const std::string& route, Handler handler,
                          RouteOptions options = {}) = 0;
  [[nodiscard]] virtual Result<> start() = 0;
  [[nodiscard]] virtual uint16_t port() const = 0;
  [[nodiscard]] virtual std::string address() const = 0;  ///< as bound, "127.0.0.1"
  [[nodiscard]] virtual ServerStats stats() const = 0;
  /// Stops accepting, lets running handlers see a gone client, joins the threads.
  virtual void stop() = 0;
};

}  // namespace lookback::http
