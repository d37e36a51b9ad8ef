#include "session.hpp"

#include <boost/asio/post.hpp>

#include "lookback/base/clock.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"

namespace lookback::http {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kHeadChunk = 4 << 10, kBodyChunk = 64 << 10;
constexpr uint64_t kMaxBufferedBodies = 512ULL << 20;
constexpr int64_t kLingerMs = 5'000;
constexpr uint64_t kLingerBytes = 64 << 20;

int64_t now_ms() {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

Response refused_response(const Refusal& refusal) {
  return plain_problem(refusal.status, refusal.detail,
                       refusal.status == 403 ? to_string(ErrorKind::unauthorized)
                                             : to_string(ErrorKind::invalid));
}

}  // namespace

Response busy() {
  return Response::problem({ErrorKind::unavailable, "too many transfers at a time: try again later"});
}

Response run_handler(const Handler& handler, Request& request) {
  try {
    return handler(request);
  } catch (const std::exception& e) {
    log_error("the handler of {} {} threw: {}", request.method, request.path, e.what());
  } catch (...) {
    log_error("the handler of {} {} threw", request.method, request.path);
  }
  return plain_problem(500, "the request could not be handled; the server's log says why",
                       "failed");
}

Session::Session(ServerCore& core, asio::io_context& io, std::unique_ptr<Transport> transport,
                 Peer peer)
        : core_(core),
      io_(io),
      timer_(io),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      waiting_since_ms_(now_ms()) {}

Session::~Session() {
  end_feed();
  core_.remove_session(this);
}

void Session::start() {
  arm(core_.options.header_timeout_ms);
  transport_->async_handshake([self = shared_from_this()](const error_code& ec, size_t) {
    if (ec) return self->close_now();
    self->begin_request();
  });
}

void Session::interrupt() {
  const std::lock_guard lock(close_mutex_);
  if (!closed_) transport_->interrupt();
}

void Session::arm(int64_t timeout_ms) {
  timer_.expires_after(milliseconds(timeout_ms));
  const uint64_t generation = ++timer_generation_;
  timer_.async_wait([self = shared_from_this(), generation](const error_code& ec) {
    if (!ec && generation == self->timer_generation_) self->on_deadline();
  });
}

void Session::on_deadline() {
  if (phase_ == Phase::handling) return;
  if (phase_ == Phase::feeding && output_.empty()) return send_to_feed(feed_->keep_alive());
  if (phase_ != Phase::idle && phase_ != Phase::closing) ++core_.timeouts;
  if (phase_ == Phase::head || (phase_ == Phase::body && !sending_continue_)) {
    // The read under way is left to end when the connection closes.
    keep_alive_ = false;
    respond(plain_problem(408, "the request did not come in time"));
    return;
  }
  close_now();
}

void Session::consume(size_t bytes) {
  input_begin_ += bytes;
  if (input_begin_ == input_.size()) {
    input_begin_ = 0;
    input_.clear();
  }
}

void Session::fill_input(size_t chunk) {
  if (input_begin_ > 0) {
    input_.erase(0, input_begin_);
    input_begin_ = 0;
  }
  const size_t old = input_.size();
  input_.resize(old + chunk);
  reading_ = true;
  transport_->async_read_some(
      std::span(input_.data() + old, chunk),
      [self = shared_from_this(), old](const error_code& ec, size_t n) {
        self->reading_ = false;
        self->input_.resize(old + n);
        const Phase phase = self->phase_;
        if (phase != Phase::idle && phase != Phase::head && phase != Phase::body)
          return;  // timed out meanwhile
        if (ec) return self->close_now();
        if (phase == Phase::body) return self->advance_body();
        self->advance_head();
      });
}

void Session::begin_request() {
  if (core_.stopping) return close_now();
  reader_ = RequestReader();
  request_.reset();
  entry_ = nullptr;
  linger_ = continue_pending_ = sending_continue_ = false;
  upload_bytes_ = 0;
  upload_waited_ns_ = 0;
  if (input().empty()) {
    std::string().swap(input_);  // an idle connection holds no buffer
    input_begin_ = 0;
    // A new connection is expected to say something soon.
    if (phase_ != Phase::handshake) {
      arm(core_.options.idle_timeout_ms);
      waiting_since_ms_ = now_ms();
    }
    phase_ = Phase::idle;
    return fill_input(kHeadChunk);
  }
  phase_ = Phase::idle;
  advance_head();
}

void Session::advance_head() {
  if (phase_ == Phase::idle) {
    phase_ = Phase::head;
    arm(core_.options.header_timeout_ms);
    // A stranger that sends the beginning of a request has not earned its place yet.
    if (is_known_) waiting_since_ms_ = 0;
  }
  const auto step = reader_.read_head(input());
  consume(step.consumed);
  switch (step.outcome) {
    case RequestReader::Outcome::head_done:
      return dispatch();
    case RequestReader::Outcome::refused: {
      keep_alive_ = false;
      return respond(plain_problem(reader_.refusal().status, reader_.refusal().detail), true);
    }
    default:
      return fill_input(kHeadChunk);
  }
}

std::shared_ptr<Request> Session::make_request(const RouteMatch& match) {
  RequestHead& head = reader_.head();
  auto request = std::make_shared<Request>();
  request->method = head.method;
  request->path = std::move(head.target.path);
  request->parameters = match.parameters;
  request->query = std::move(head.target.query);
  request->headers = std::move(head.headers);
  request->peer_address = peer_.address;
  request->content_length = head.content_length;
  request->peer_port = peer_.port;
  request->arrived_ns = arrived_ns_;
  return request;
}

void Session::dispatch() {
  const RequestHead& head = reader_.head();
  ++core_.requests;
  arrived_ns_ = Clock::system().monotonic_ns();
  keep_alive_ = head.keep_alive;
  version_ = head.version;
  is_head_ = head.method == "HEAD";
  const bool body_unread = head.has_body;
  if (const auto refusal = core_.guard.check(head, peer_.local_address))
    return respond(refused_response(*refusal), body_unread);
  RouteMatch match = core_.match(head.method, head.target);
  auto principal = core_.principal(head.headers, match);
  if (!principal)
    return respond(Response::problem({ErrorKind::unauthorized,
                                      "this needs a valid token (Authorization: Bearer …)"}),
                   body_unread);
  waiting_since_ms_ = 0;
  is_known_ = true;
  if (match.entry == nullptr) {
    if (match.allow.empty())
      return respond(plain_problem(404, "there is nothing at " + head.target.path, "not_found"),
                     body_unread);
    Response response = head.method == "OPTIONS"
                            ? Response{}
                            : plain_problem(405, "the methods of this path are " + match.allow);
    if (head.method == "OPTIONS") response.status = 204;
    response.headers["Allow"] = match.allow;
    return respond(std::move(response), body_unread);
  }
  const RouteInfo& route = match.entry->info;
  if (!may_use(*principal, route.role, match.node()))
    return respond(plain_problem(403,
                                 fmt::format("the token is that of a {}, this is for a {}", to_string(principal->role),
                                             to_string(route.role)),
                                 to_string(ErrorKind::unauthorized)),
                   body_unread);
  if (const auto refusal = RequestGuard::check_type(head, route.body))
    return respond(refused_response(*refusal), true);
  const auto length = head.content_length.value_or(0);
  const uint64_t limit = core_.body_limit(*match.entry);
  if (length > limit)
    return respond(plain_problem(413, fmt::format("the body is larger than {} bytes", limit)), true);
  continue_pending_ = head.expects_continue && head.has_body;
  auto request = make_request(match);
  request->principal = std::move(*principal);
  if (route.runs_on != RunsOn::worker) return dispatch_to_thread(std::move(request), *match.entry);
  lease_ = BodyLease(core_.body_bytes);
  entry_ = match.entry;
  request_ = std::move(request);
  if (!body_unread) return submit_request();
  if (!lease_.grow(length, kMaxBufferedBodies)) {
    ++core_.refused;
    return respond(busy(), true);
  }
  phase_ = Phase::body;
  body_started_ = steady_clock::now();
  if (continue_pending_ && input().empty()) return send_continue_then_read_body();
  advance_body();
}

void Session::send_continue_then_read_body() {
  continue_pending_ = false;
  sending_continue_ = true;
  arm(core_.options.stall_timeout_ms);
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  transport_->async_write_some(kContinue,
                               [self = shared_from_this()](const error_code& ec, size_t n) {
                                 // 25 bytes either fit into the socket's buffer or the connection
                                 // is of no use
                                 if (ec || n != kContinue.size() || self->phase_ != Phase::body)
                                   return self->close_now();
                                 self->sending_continue_ = false;
                                 self->advance_body();
                               });
}

void Session::advance_body() {
  std::string& body = request_->body;
  for (;;) {
    const size_t old = body.size();
    const auto pending = input();
    if (pending.empty()) break;
    // Never more than what is there: a chunked body's framing only shrinks it.
    body.resize(old + pending.size());
    const auto step = reader_.read_body(pending, std::span(body.data() + old, pending.size()));
    body.resize(old + step.produced);
    consume(step.consumed);
    if (step.outcome == RequestReader::Outcome::refused) {
      keep_alive_ = false;
      return respond(plain_problem(reader_.refusal().status, reader_.refusal().detail), true);
    }
    if (const uint64_t limit = core_.body_limit(*entry_); body.size() > limit)
      return respond(plain_problem(413, fmt::format("the body is larger than {} bytes", limit)), true);
    if (!reader_.head().content_length && !lease_.grow(step.produced, kMaxBufferedBodies)) {
      ++core_.refused;
      return respond(busy(), true);
    }
    if (reader_.body_done()) return submit_request();
    if (step.consumed == 0) break;
  }
  const auto allowed = milliseconds(core_.options.stall_timeout_ms) +
                       std::chrono::seconds(body.size() / kLeastBytesPerSecond);
  const auto left =
      std::chrono::duration_cast<milliseconds>(body_started_ + allowed - steady_clock::now())
          .count();
  arm(std::clamp<int64_t>(left, 0, core_.options.stall_timeout_ms));
  fill_input(kBodyChunk);
}

void Session::submit_request() {
  phase_ = Phase::handling;
  ++timer_generation_;  // no deadline while the handler works
  timer_.cancel();
  auto lease = std::make_shared<BodyLease>(std::move(lease_));
  lease_ = BodyLease();
  const bool taken = core_.submit(
      [self = shared_from_this(), request = std::move(request_), entry = entry_, lease]() mutable {
        Response response = run_handler(entry->handler, *request);
        request.reset();
        lease.reset();
        self->handled(std::move(response));
      });
  if (!taken) close_now();
}

void Session::handled(Response response) {
  if (response.stream && !is_head_) {
    auto streamed = std::make_shared<Response>(std::move(response));
    if (core_.threads(RunsOn::transfer).run([self = shared_from_this(), streamed] {
          self->respond_streaming(*streamed);
        }))
      return;
    ++core_.refused;
    response = busy();
  }
  auto shared = std::make_shared<Response>(std::move(response));
  asio::post(io_, [self = shared_from_this(), shared] { self->respond(std::move(*shared)); });
}

void Session::respond(Response response, bool body_unread) {
  if (response.status >= 500)
    log_debug("{} to {}: {}", response.status, peer_.address, response.body);
  if (response.feed && !is_head_) return begin_feed(std::move(response));
  lease_ = BodyLease();
  request_.reset();
  if (body_unread || core_.stopping) keep_alive_ = false;
  linger_ = body_unread;
  HeadOptions options{version_, keep_alive_, BodyFraming::length, std::nullopt};
  if (response.stream || response.feed) {  // a HEAD request's answer: its length is said only where it is known
    options.length = response.content_length;
  } else if (!has_no_body(response.status)) {
    options.length = response.body.size();
  }
  output_ = format_response_head(response, options);
  if (!is_head_ && !has_no_body(response.status)) output_ += response.body;
  output_begin_ = 0;
  phase_ = Phase::writing;
  write_output();
}

void Session::write_output() {
  arm(core_.options.stall_timeout_ms);
  transport_->async_write_some(std::string_view(output_).substr(output_begin_),
                               [self = shared_from_this()](const error_code& ec, size_t n) {
                                 if (self->phase_ != Phase::writing) return;
                                 if (ec) return self->close_now();
                                 self->output_begin_ += n;
                                 if (self->output_begin_ < self->output_.size())
                                   return self->write_output();
                                 std::string().swap(self->output_);
                                 self->finish_exchange();
                               });
}

void Session::finish_exchange() {
  is_head_ = false;
  version_ = 11;
  if (keep_alive_ && !core_.stopping && !reading_) return begin_request();
  close_gracefully();
}

void Session::close_gracefully() {
  phase_ = Phase::closing;
  waiting_since_ms_ = now_ms();
  arm(kLingerMs);
  transport_->async_finish([self = shared_from_this()](const error_code&, size_t) {
    // Closing with input unread would reset the connection under the response.
    if (!self->linger_ || self->reading_) return self->close_now();
    self->upload_bytes_ = 0;
    self->input_.resize(kBodyChunk);
    self->discard_input();
  });
}

void Session::discard_input() {
  transport_->async_discard(
      std::span(input_), [self = shared_from_this()](const error_code& ec, size_t n) {
        self->upload_bytes_ += n;
        if (ec || self->phase_ != Phase::closing || self->upload_bytes_ > kLingerBytes)
          return self->close_now();
        self->discard_input();
      });
}

void Session::close_now() {
  ++timer_generation_;
  timer_.cancel();
  phase_ = Phase::closing;
  end_feed();
  const std::lock_guard lock(close_mutex_);
  if (closed_) return;
  closed_ = true;
  transport_->close();
}

void Session::dispatch_to_thread(std::shared_ptr<Request> request, const RouteEntry& entry) {
  phase_ = Phase::handling;
  entry_ = &entry;
  ++timer_generation_;
  timer_.cancel();
  const bool taken = core_.threads(entry.info.runs_on).run([self = shared_from_this(), request, &entry] {
    self->run_on_thread(*request, entry);
  });
  if (taken) return;
  ++core_.refused;
  respond(busy(), reader_.head().has_body);
}

}  // namespace lookback::http
