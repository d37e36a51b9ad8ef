#pragma once
// A TCP socket whose synchronous operations give up after a time: what asio's own do not, and what
// asio's TLS stream needs below it.

#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <utility>

namespace lookback::http {

class TimedSocket {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using executor_type = Socket::executor_type;
  using lowest_layer_type = Socket::lowest_layer_type;
  using error_code = boost::system::error_code;

  explicit TimedSocket(Socket socket) : socket_(std::move(socket)) {}

  executor_type get_executor() { return socket_.get_executor(); }
  lowest_layer_type& lowest_layer() { return socket_.lowest_layer(); }
  Socket& socket() { return socket_; }
  int fd() { return socket_.native_handle(); }
  void set_timeout_ms(int timeout_ms) { timeout_ms_ = timeout_ms; }

  template <class Buffers, class Handler>
  auto async_read_some(const Buffers& buffers, Handler&& handler) {
    return socket_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  auto async_write_some(const Buffers& buffers, Handler&& handler) {
    return socket_.async_write_some(buffers, std::forward<Handler>(handler));
  }

  template <class Buffers>
  size_t read_some(const Buffers& buffers, error_code& ec) {
    return transfer<iovec>(buffers, POLLIN, ec, [this](msghdr& message) {
      return ::recvmsg(fd(), &message, MSG_DONTWAIT);
    });
  }
  template <class Buffers>
  size_t write_some(const Buffers& buffers, error_code& ec) {
    return transfer<iovec>(buffers, POLLOUT, ec, [this](msghdr& message) {
      return ::sendmsg(fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    });
  }

 private:
  template <class Iovec, class Buffers, class Call>
  size_t transfer(const Buffers& buffers, short event, error_code& ec, Call call) {
    constexpr size_t kMaxParts = 8;
    Iovec parts[kMaxParts];
    size_t count = 0, bytes = 0;
    for (auto it = boost::asio::buffer_sequence_begin(buffers);
         it != boost::asio::buffer_sequence_end(buffers) && count < kMaxParts; ++it) {
      if (it->size() == 0) continue;
      parts[count++] = {const_cast<void*>(static_cast<const void*>(it->data())), it->size()};
      bytes += it->size();
    }
    ec = {};
    if (bytes == 0) return 0;
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    for (;;) {
      const ssize_t n = call(message);
      if (n > 0) return static_cast<size_t>(n);
      if (n == 0) {
        ec = boost::asio::error::eof;
        return 0;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        ec = error_code(errno, boost::system::system_category());
        return 0;
      }
      pollfd waiting{fd(), event, 0};
      const int ready = ::poll(&waiting, 1, timeout_ms_);
      if (ready == 0) {
        ec = boost::asio::error::timed_out;
        return 0;
      }
      if (ready < 0 && errno != EINTR) {
        ec = error_code(errno, boost::system::system_category());
        return 0;
      }
    }
  }

  Socket socket_;
  int timeout_ms_ = 60'000;
};

}  // namespace lookback::http
