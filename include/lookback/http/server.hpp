#pragma once
// A small HTTP/1.1 server on Boost.Beast (RFC 9110, 9112), with TLS and bearer tokens. Beast stays
// behind this header. Handlers run on a pool of worker threads, never on an I/O thread. What may
// last (streamed responses, uploads) runs on threads of its own, at most max_streams of them (503
// beyond), so that a slow client never holds a worker. A feed takes no thread. Bodies are streamed
// with back-pressure.
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
  Principal principal;  ///< who asks; everybody is the admin where the server has no token
  /// For routes with a thread of their own: reads the body as it comes; 0 at its end.
  std::function<Result<size_t>(std::span<std::byte>)> read_body;

  [[nodiscard]] std::optional<std::string> query_value(const std::string& key) const;
  [[nodiscard]] std::string header(const std::string& lower_case_name) const;  ///< empty: not sent
};

/// Writes response body bytes; waits while the client is slow; fails with kind cancelled once the
/// client is gone (or took nothing for stall_timeout_ms). An empty span writes nothing and only
/// asks whether the client is still there, which any thread may do while the stream lasts.
using BodyWriter = std::function<Result<>(std::span<const std::byte>)>;

/// A response that goes on until the client has enough. It takes no thread: the server asks for text when it is woken.
/// Used by one response, from one thread, but for the `wake` that it was given.
class Feed {
 public:
  Feed() = default;
  virtual ~Feed() = default;
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;
  /// What there is to send; empty: nothing yet; nothing: the feed is over.
  [[nodiscard]] virtual std::optional<std::string> take() = 0;
  /// What to send when there was nothing else for a while, which finds out whether anybody still listens.
  [[nodiscard]] virtual std::string keep_alive() const = 0;
  /// `wake` may be called from any thread whenever take() may have something, and while this runs.
  virtual void on_more(std::function<void()> wake) = 0;
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
  std::shared_ptr<Feed> feed;  ///< when set, the body comes from here

  [[nodiscard]] static Response json(std::string text, int status = 200);
  [[nodiscard]] static Response text(std::string text, int status = 200);
  /// application/problem+json (RFC 9457) with the status of the kind (status.hpp).
  [[nodiscard]] static Response problem(const Error& error);
  /// The same with another status.
  [[nodiscard]] static Response problem(const Error& error, int status);
};

using Handler = std::function<Response(Request&)>;

/// Where the handler of a route runs.
enum class RunsOn {
  worker,    ///< on one of a few threads, after the body has been read: must not wait
  order,     ///< on a thread of its own: a short request that waits for something
  transfer,  ///< on a thread of its own, of which there are more: reads its body as it comes, as large as it is
};

/// The body that a route takes.
struct BodyRule {
  /// Media types of the body, without parameters; empty: any. A page of another site may send a
  /// form or plain text without being asked, but none of these.
  std::vector<std::string> body_types{"application/json"};
  /// Larger bodies are refused (413); nothing: ServerOptions::max_body_bytes, or any size for a transfer.
  std::optional<uint64_t> max_body_bytes{};
};

/// What the server knows of a route. The texts outlive it.
struct RouteInfo {
  std::string_view method;   ///< upper case; HEAD is answered from GET
  std::string_view pattern;  ///< "/api/v1/snapshots/{name}/pcap"; "/files/{path...}" takes all that follows, slashes included
  Role role = Role::client;  ///< who may use it
  RunsOn runs_on = RunsOn::worker;
  std::string_view summary{};  ///< one sentence for people
  BodyRule body{};
};

struct TlsFiles {
  std::string certificate, key;  ///< PEM files
};

struct ServerOptions {
  std::string listen;  ///< "127.0.0.1:7400", "[::1]:7400", port 0 for any
  std::optional<TlsFiles> tls;
  std::string token;              ///< the admin's; empty: no authentication. Otherwise all but routes for anyone need one
  Authenticator further_tokens{};  ///< whose tokens beside `token` are; empty: nobody's
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
  /// an allowed host that is not a name; the message says the ways out.
  [[nodiscard]] static Result<std::unique_ptr<Server>> create(ServerOptions options);
  virtual ~Server() = default;
  /// Before start() only. OPTIONS, 404 and 405 are answered by the server. A path that several patterns fit
  /// is that of the one without a rest ({path...}), then of the first.
  virtual void add(RouteInfo route, Handler handler) = 0;
  [[nodiscard]] virtual Result<> start() = 0;
  [[nodiscard]] virtual uint16_t port() const = 0;
  [[nodiscard]] virtual std::string address() const = 0;  ///< as bound, "127.0.0.1"
  [[nodiscard]] virtual ServerStats stats() const = 0;
  /// Stops accepting, lets running handlers see a gone client, joins the threads.
  virtual void stop() = 0;
};

}  // namespace lookback::http
