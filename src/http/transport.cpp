#include "transport.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <vector>

#include "timed_socket.hpp"

namespace lookback::http {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr size_t kPart = 64 << 10;

Error gone(const error_code& ec) {
  if (ec == asio::error::timed_out)
    return {ErrorKind::cancelled, "the client took or gave nothing for too long"};
  return {ErrorKind::cancelled, "the client is gone (" + ec.message() + ")"};
}

bool is_end(const error_code& ec) {
  // A TLS peer that closes without close_notify: the HTTP framing tells whether something is
  // missing.
  return ec == asio::error::eof || ec == asio::ssl::error::stream_truncated;
}

/// What plain and TLS connections have in common. Stream is TimedSocket or a TLS stream over one.
template <class Stream>
class BasicTransport : public Transport {
 public:
  template <class... Args>
  explicit BasicTransport(Args&&... args) : stream_(std::forward<Args>(args)...) {}

  void async_read_some(std::span<char> out, Done done) override {
    stream_.async_read_some(asio::mutable_buffer(out.data(), out.size()), std::move(done));
  }
  void async_write_some(std::string_view data, Done done) override {
    stream_.async_write_some(asio::const_buffer(data.data(), data.size()), std::move(done));
  }
  void async_discard(std::span<char> scratch, Done done) override {
    timed().socket().async_read_some(asio::mutable_buffer(scratch.data(), scratch.size()),
                                     std::move(done));
  }

  Result<size_t> read_some(std::span<char> out, int timeout_ms) override {
    timed().set_timeout_ms(timeout_ms);
    error_code ec;
    const size_t n = stream_.read_some(asio::mutable_buffer(out.data(), out.size()), ec);
    if (n > 0 || !ec || is_end(ec)) return n;
    return tl::make_unexpected(gone(ec));
  }

  Result<> write_all(std::initializer_list<std::string_view> parts, int timeout_ms,
                     Pace* pace) override {
    timed().set_timeout_ms(timeout_ms);
    std::vector<asio::const_buffer> buffers;
    for (const std::string_view part : parts) {
      if (!part.empty()) buffers.emplace_back(part.data(), part.size());
    }
    error_code ec;
    bool too_slow = false;
    size_t seen = 0;
    auto last = std::chrono::steady_clock::now();
    // Asked before each part: how much of the rest may go.
    const auto next_part = [&](const error_code& failed, size_t written) -> size_t {
      if (failed) return 0;
      if (pace == nullptr) return kPart;
      const auto now = std::chrono::steady_clock::now();
      pace->add(written - std::exchange(seen, written), now - std::exchange(last, now));
      too_slow = pace->too_slow();
      return too_slow ? 0 : kPart;
    };
    asio::write(stream_, buffers, next_part, ec);
    if (ec) return tl::make_unexpected(gone(ec));
    if (too_slow) return fail(ErrorKind::cancelled, "the client takes the answer too slowly");
    return {};
  }

  bool peer_gone() override {
    // A client that ends its own direction while it waits for an answer has gone in all but name.
    pollfd state{timed().fd(), POLLRDHUP, 0};
    return ::poll(&state, 1, 0) > 0 &&
           (state.revents & (POLLERR | POLLHUP | POLLRDHUP | POLLNVAL)) != 0;
  }

  void interrupt() override { ::shutdown(timed().fd(), SHUT_RDWR); }
  void reset_on_close() override {
    error_code ec;
    timed().socket().set_option(asio::socket_base::linger(true, 0), ec);
  }
  void close() override {
    error_code ec;
    timed().socket().close(ec);
  }

 protected:
  TimedSocket& timed() {
    if constexpr (std::is_same_v<Stream, TimedSocket>) {
      return stream_;
    } else {
      return stream_.next_layer();
    }
  }
  void finish_tcp() {
    error_code ec;
    timed().socket().shutdown(asio::socket_base::shutdown_send, ec);
  }

  Stream stream_;
};

class PlainTransport final : public BasicTransport<TimedSocket> {
 public:
  using BasicTransport::BasicTransport;
  void async_handshake(Done done) override {
    asio::post(stream_.get_executor(), [done = std::move(done)] { done({}, 0); });
  }
  void async_finish(Done done) override {
    finish_tcp();
    asio::post(stream_.get_executor(), [done = std::move(done)] { done({}, 0); });
  }
};

class TlsTransport final : public BasicTransport<asio::ssl::stream<TimedSocket>> {
 public:
  using BasicTransport::BasicTransport;
  void async_handshake(Done done) override {
    stream_.async_handshake(asio::ssl::stream_base::server,
                            [done = std::move(done)](const error_code& ec) { done(ec, 0); });
  }
  void async_finish(Done done) override {
    // A zero-length write cannot carry close_notify; async_shutdown sends it at once and then waits
    // for the peer's, under the session's deadline.
    stream_.async_shutdown([this, done = std::move(done)](const error_code& ec) {
      finish_tcp();
      done(ec, 0);
    });
  }
};

}  // namespace

std::unique_ptr<Transport> make_plain_transport(asio::ip::tcp::socket socket) {
  return std::make_unique<PlainTransport>(TimedSocket(std::move(socket)));
}

std::unique_ptr<Transport> make_tls_transport(asio::ip::tcp::socket socket,
                                              asio::ssl::context& context) {
  return std::make_unique<TlsTransport>(TimedSocket(std::move(socket)), context);
}

}  // namespace lookback::http
