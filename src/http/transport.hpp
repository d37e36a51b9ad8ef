#pragma once
// One accepted connection, plain or TLS, behind an interface, so that the HTTP code is compiled
// once. An I/O thread uses the asynchronous half; a stream thread that was handed the connection
// uses the synchronous half. Never both at a time.

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::http {

/// How slowly a peer may take what it asked for: on average at least some bytes a second, after a grace.
class Pace {
 public:
  Pace(int64_t grace_ms, uint64_t least_bytes_per_second) : grace_ms_(grace_ms), least_(least_bytes_per_second) {}
  void add(uint64_t bytes, std::chrono::steady_clock::duration waited) {
    bytes_ += bytes;
    waited_ += waited;
  }
  [[nodiscard]] bool too_slow() const {
    return waited_ > std::chrono::milliseconds(grace_ms_) + std::chrono::seconds(bytes_ / least_);
  }

 private:
  const int64_t grace_ms_;
  const uint64_t least_;
  uint64_t bytes_ = 0;
  std::chrono::steady_clock::duration waited_{};
};

class Transport {
 public:
  using Done = std::function<void(const boost::system::error_code&, size_t)>;
  virtual ~Transport() = default;

  virtual void async_handshake(Done done) = 0;  ///< TLS; nothing to do otherwise
  virtual void async_read_some(std::span<char> out, Done done) = 0;
  virtual void async_write_some(std::string_view data, Done done) = 0;
  /// Tells the peer that nothing more comes (TLS close_notify, TCP FIN).
  virtual void async_finish(Done done) = 0;
  /// Reads and forgets raw bytes after async_finish: closing a socket with unread input would reset
  /// the connection, and the peer might lose the response.
  virtual void async_discard(std::span<char> scratch, Done done) = 0;

  /// Waits up to timeout_ms; 0 at the end of the stream; kind cancelled on a time-out or a gone
  /// peer.
  [[nodiscard]] virtual Result<size_t> read_some(std::span<char> out, int timeout_ms) = 0;
  /// Writes all parts; the time-out counts from the last byte that the peer took. `pace` goes over
  /// several calls, and ends one in its middle.
  [[nodiscard]] virtual Result<> write_all(std::initializer_list<std::string_view> parts,
                                           int timeout_ms, Pace* pace = nullptr) = 0;
  [[nodiscard]] virtual bool peer_gone() = 0;

  /// Ends both directions at once, so that whoever waits for the peer returns. Any thread, while
  /// the object lives.
  virtual void interrupt() = 0;
  /// Makes the closing of the socket a reset: the peer must not take what it got for the whole.
  virtual void reset_on_close() = 0;
  virtual void close() = 0;
};

[[nodiscard]] std::unique_ptr<Transport> make_plain_transport(boost::asio::ip::tcp::socket socket);
[[nodiscard]] std::unique_ptr<Transport> make_tls_transport(boost::asio::ip::tcp::socket socket,
                                                            boost::asio::ssl::context& context);

}  // namespace lookback::http
