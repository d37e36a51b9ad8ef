// What a connection does while it carries a feed. All of it on the I/O thread.
#include <boost/asio/post.hpp>

#include "session.hpp"

namespace lookback::http {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr int64_t kKeepAliveMs = 10'000;

}  // namespace

void Session::begin_feed(Response response) {
  if (core_.feeds.fetch_add(1) >= core_.options.max_feeds) {
    --core_.feeds;
    ++core_.refused;
    return respond(busy());
  }
  lease_ = BodyLease();
  request_.reset();
  feed_ = std::move(response.feed);
  feed_over_ = false;
  const BodyFraming framing = version_ >= 11 ? BodyFraming::chunked : BodyFraming::until_close;
  if (framing == BodyFraming::until_close) keep_alive_ = false;
  output_ = format_response_head(response, {version_, keep_alive_, framing, std::nullopt});
  output_begin_ = 0;
  phase_ = Phase::feeding;
  feed_->on_more([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    asio::io_context& io = self->io_;
    // The I/O thread gets the only hold: the last one must not end here, inside of the feed.
    asio::post(io, [self = std::move(self)] { self->advance_feed(); });
  });
  write_feed();
}

void Session::advance_feed() {
  if (phase_ != Phase::feeding || !output_.empty()) return;
  if (feed_over_) {
    end_feed();
    phase_ = Phase::writing;
    return finish_exchange();
  }
  const auto text = core_.stopping ? std::nullopt : feed_->take();
  if (text && text->empty()) return arm(kKeepAliveMs);
  if (text) return send_to_feed(*text);
  feed_over_ = true;
  if (version_ < 11) return advance_feed();
  output_ = "0\r\n\r\n";
  write_feed();
}

void Session::send_to_feed(std::string_view text) {
  output_ = version_ >= 11 ? fmt::format("{:x}\r\n{}\r\n", text.size(), text) : std::string(text);
  output_begin_ = 0;
  write_feed();
}

void Session::write_feed() {
  arm(core_.options.stall_timeout_ms);
  transport_->async_write_some(std::string_view(output_).substr(output_begin_), [self = shared_from_this()](const error_code& ec, size_t n) {
    if (self->phase_ != Phase::feeding) return;
    if (ec) return self->close_now();
    self->output_begin_ += n;
    if (self->output_begin_ < self->output_.size()) return self->write_feed();
    self->output_.clear();
    self->output_begin_ = 0;
    self->advance_feed();
  });
}

void Session::end_feed() {
  if (!feed_) return;
  feed_->on_more({});
  feed_.reset();
  --core_.feeds;
}

}  // namespace lookback::http
