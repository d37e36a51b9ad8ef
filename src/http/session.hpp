#pragma once
// One connection: reads requests, has them handled, writes responses. Its asynchronous half belongs
// to one I/O thread; while a stream thread has the connection (an upload or a streamed response),
// the I/O thread leaves it alone.

#include <boost/asio/steady_timer.hpp>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "request_reader.hpp"
#include "response_head.hpp"
#include "server_core.hpp"
#include "transport.hpp"

namespace lookback::http {

/// A client that sends a body more slowly than this on average holds a slot for nothing.
inline constexpr uint64_t kLeastBytesPerSecond = 1 << 10;

/// The same for one that takes a streamed response.
inline constexpr uint64_t kLeastReadBytesPerSecond = 8 << 10;

/// Calls a handler; what it throws becomes a response of status 500.
[[nodiscard]] Response run_handler(const Handler& handler, Request& request);

/// What is answered where every thread for what may last is taken.
[[nodiscard]] Response busy();

struct Peer {
  std::string address;
  uint16_t port = 0;
  std::string local_address;  ///< where it came in
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(ServerCore& core, boost::asio::io_context& io, std::unique_ptr<Transport> transport,
          Peer peer);
  ~Session();
  void start();      ///< I/O thread
  void interrupt();  ///< any thread: whoever waits for the peer gives up

  /// Since when the connection has had nothing to do but wait for its peer (steady clock, ms); 0: it
  /// works. Any thread.
  [[nodiscard]] int64_t waiting_since_ms() const { return waiting_since_ms_; }
  /// It has shown a valid token, or made a request where none is needed. Any thread.
  [[nodiscard]] bool is_known() const { return is_known_; }

 private:
  enum class Phase { handshake, idle, head, body, handling, writing, feeding, closing };

  // --- I/O thread
  void begin_request();
  void advance_head();
  void dispatch();
  void dispatch_to_thread(std::shared_ptr<Request> request, const RouteEntry& entry);
  void send_continue_then_read_body();
  void advance_body();
  void submit_request();
  void fill_input(size_t chunk);
  void respond(Response response, bool body_unread = false);
  void write_output();
  void finish_exchange();
  void begin_feed(Response response);
  void advance_feed();
  void send_to_feed(std::string_view text);
  void write_feed();
  void end_feed();
  void close_gracefully();
  void discard_input();
  void close_now();
  void arm(int64_t timeout_ms);
  void on_deadline();

  // --- worker thread
  void handled(Response response);

  // --- stream thread
  void run_on_thread(Request& request, const RouteEntry& entry);
  Result<size_t> read_upload(std::span<std::byte> out);
  void respond_streaming(Response& response);
  [[nodiscard]] Result<> stream_body(Response& response, BodyFraming framing, std::string head,
                                     bool& begun);
  void give_back(bool keep);

  [[nodiscard]] std::string_view input() const {
    return std::string_view(input_).substr(input_begin_);
  }
  void consume(size_t bytes);
  [[nodiscard]] std::shared_ptr<Request> make_request(const RouteMatch& match);
  [[nodiscard]] int stall_ms() const { return static_cast<int>(core_.options.stall_timeout_ms); }

  ServerCore& core_;
  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<Transport> transport_;
  const Peer peer_;
  std::atomic<int64_t> waiting_since_ms_;
  std::atomic<bool> is_known_{false};
  std::mutex close_mutex_;
  bool closed_ = false;  // guarded by close_mutex_

  Phase phase_ = Phase::handshake;
  uint64_t timer_generation_ = 0;
  bool reading_ = false;  // an asynchronous read is under way
  std::string input_;     // bytes from the peer, consumed up to input_begin_
  size_t input_begin_ = 0;
  RequestReader reader_;
  bool keep_alive_ = false, is_head_ = false, linger_ = false;
  int version_ = 11;
  int64_t arrived_ns_ = 0;

  std::shared_ptr<Request> request_;
  const RouteEntry* entry_ = nullptr;
  BodyLease lease_;
  std::chrono::steady_clock::time_point body_started_;
  std::string output_;  // head and body of the response under way
  size_t output_begin_ = 0;
  std::shared_ptr<Feed> feed_;  // of the response under way; counted in core_.feeds
  bool feed_over_ = false;
  bool continue_pending_ = false;
  bool sending_continue_ = false;
  uint64_t upload_bytes_ = 0;
  int64_t upload_waited_ns_ = 0;
};

}  // namespace lookback::http
