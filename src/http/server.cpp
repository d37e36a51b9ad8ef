#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "listen_address.hpp"
#include "lookback/base/log.hpp"
#include "lookback/http/own_host.hpp"
#include "session.hpp"

namespace lookback::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr unsigned kIoThreads = 2;
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

Result<std::unique_ptr<asio::ssl::context>> make_tls_context(const TlsFiles& files) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  error_code ec;
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                           asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                           asio::ssl::context::no_tlsv1_1 | SSL_OP_NO_RENEGOTIATION,
                       ec);
  if (ec) return fail(ErrorKind::failed, "cannot set up TLS: {}", ec.message());
  context->use_certificate_chain_file(files.certificate, ec);
  if (ec)
    return fail(ErrorKind::invalid, "cannot use the TLS certificate {}: {}", files.certificate,
                ec.message());
  context->use_private_key_file(files.key, asio::ssl::context::pem, ec);
  if (ec) return fail(ErrorKind::invalid, "cannot use the TLS key {}: {}", files.key, ec.message());
  if (SSL_CTX_check_private_key(context->native_handle()) != 1)
    return fail(ErrorKind::invalid, "the TLS key {} does not belong to the certificate {}",
                files.key, files.certificate);
  return context;
}

/// Whether the certificate is for a name: then nobody else can speak under it.
std::function<bool(const std::string&)> names_of(asio::ssl::context* tls) {
  if (tls == nullptr) return {};
  X509* certificate = SSL_CTX_get0_certificate(tls->native_handle());
  if (certificate == nullptr) return {};
  return [certificate](const std::string& name) {
    return X509_check_host(certificate, name.c_str(), name.size(), 0, nullptr) == 1;
  };
}

/// The context that accepts. An accept under way holds a socket of the context that it is for, and
/// contexts end last to first: so this one must be the last.
constexpr size_t kAcceptor = kIoThreads - 1;

class BeastServer final : public Server {
 public:
  BeastServer(ServerOptions options, std::unique_ptr<asio::ssl::context> tls)
      : core_(std::move(options), names_of(tls.get())),
        tls_(std::move(tls)),
        acceptor_(io_[kAcceptor]),
        accept_timer_(io_[kAcceptor]) {
    core_.on_session_gone = [this] {
      if (paused_ && !core_.stopping) asio::post(io_[kAcceptor], [this] { resume_accepting(); });
    };
  }
  ~BeastServer() override { stop(); }

  [[nodiscard]] Result<> bind(const tcp::endpoint& endpoint) {
    const auto failed = [&](std::string_view what, const error_code& ec) {
      const ErrorKind kind =
          ec == asio::error::address_in_use ? ErrorKind::conflict : ErrorKind::failed;
      return fail(kind, "cannot {} {}: {}", what, core_.options.listen, ec.message());
    };
    error_code ec;
    acceptor_.open(endpoint.protocol(), ec);
    if (ec) return failed("open a socket for", ec);
    acceptor_.set_option(asio::socket_base::reuse_address(true), ec);
    if (endpoint.address().is_v6()) acceptor_.set_option(asio::ip::v6_only(false), ec);
    acceptor_.bind(endpoint, ec);
    if (ec) return failed("listen on", ec);
    acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return failed("listen on", ec);
    bound_ = acceptor_.local_endpoint(ec);
    if (ec) return failed("tell the address of", ec);
    return {};
  }

  void add(RouteInfo route, Handler handler) override {
    LOOKBACK_CHECK(!started_);
    RoutePattern pattern(route.pattern);
    core_.routes.push_back({std::move(route), std::move(pattern), std::move(handler)});
  }

  Result<> start() override {
    LOOKBACK_CHECK(!started_);
    started_ = true;
    core_.start_workers();
    for (auto& io : io_) {
      guards_.push_back(asio::make_work_guard(io));
      threads_.emplace_back([&io] { io.run(); });
    }
    asio::post(io_[kAcceptor], [this] { accept(); });
    return {};
  }

  uint16_t port() const override { return bound_.port(); }
  std::string address() const override { return address_text(bound_.address()); }
  ServerStats stats() const override {
    return {core_.connections,       core_.requests, core_.session_count(),
            core_.streams_running(), core_.timeouts, core_.refused, core_.evicted};
  }

  void stop() override {
    const std::lock_guard lock(stop_mutex_);
    if (core_.stopping.exchange(true)) return;
    if (!started_) return;
    asio::post(io_[kAcceptor], [this] {
      error_code ec;
      acceptor_.close(ec);
      accept_timer_.cancel();
    });
    for (const auto& session : core_.sessions()) session->interrupt();
    core_.stop_workers();
    // Once more: a connection may have been accepted, or given to a stream thread, in between.
    for (const auto& session : core_.sessions()) session->interrupt();
    core_.stop_streams();
    guards_.clear();
    for (auto& io : io_) io.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  // --- the I/O thread that accepts
  void accept() {
    if (core_.stopping || accepting_) return;
    if (!core_.has_room()) {
      paused_ = true;
      // A connection may have ended between the look and the mark.
      if (!core_.has_room()) return retry_accepting();
      paused_ = false;
    }
    accepting_ = true;
    asio::io_context& io = io_[next_io_++ % kIoThreads];
    acceptor_.async_accept(io, [this, &io](const error_code& ec, tcp::socket socket) {
      accepting_ = false;
      if (core_.stopping) return;
      if (ec) {
        if (ec == asio::error::operation_aborted) return;
        // Out of descriptors or memory: what waits keeps waiting in the backlog.
        if (!accept_failing_)
          log_warning("cannot accept a connection on {}: {}", core_.options.listen, ec.message());
        accept_failing_ = true;
        return retry_accepting();
      }
      accept_failing_ = false;
      begin_session(io, std::move(socket));
      accept();
    });
  }

  /// What works now may be idle soon, and make room.
  void retry_accepting() {
    accept_timer_.expires_after(kAcceptRetry);
    accept_timer_.async_wait([this](const error_code& cancelled) {
      if (cancelled) return;
      paused_ = false;
      accept();
    });
  }

  void resume_accepting() {
    if (!paused_.exchange(false)) return;
    accept();
  }

  void begin_session(asio::io_context& io, tcp::socket socket) {
    error_code ec;
    const auto remote = socket.remote_endpoint(ec);
    if (ec) return;
    const auto local = socket.local_endpoint(ec);
    if (ec) return;
    socket.set_option(tcp::no_delay(true), ec);
    socket.set_option(asio::socket_base::keep_alive(true), ec);
    auto transport = tls_ ? make_tls_transport(std::move(socket), *tls_)
                          : make_plain_transport(std::move(socket));
    auto session = std::make_shared<Session>(
        core_, io, std::move(transport),
        Peer{address_text(remote.address()), remote.port(), address_text(local.address())});
    if (!core_.add_session(session, address_text(remote.address()))) return;
    ++core_.connections;
    asio::post(io, [session = std::move(session)] { session->start(); });
  }

  ServerCore core_;  // outlives the sessions, which the I/O contexts hold
  std::unique_ptr<asio::ssl::context> tls_;
  asio::io_context io_[kIoThreads]{asio::io_context(1), asio::io_context(1)};
  tcp::acceptor acceptor_;
  asio::steady_timer accept_timer_;
  tcp::endpoint bound_;
  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards_;
  std::vector<std::thread> threads_;
  std::mutex stop_mutex_;
  bool started_ = false, accepting_ = false, accept_failing_ = false;
  std::atomic<bool> paused_{false};
  unsigned next_io_ = 0;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
  TRY_ASSIGN(const tcp::endpoint endpoint, parse_listen_address(options.listen));
  if (!is_loopback(endpoint.address()) && !options.tls && !options.insecure) {
    return fail(ErrorKind::invalid,
                "listening on {} without TLS would show captured traffic and the token to "
                "everybody on the way: give a TLS "
                "certificate and key, or allow it with --insecure",
                options.listen);
  }
  if (!is_loopback(endpoint.address()) && options.token.empty()) {
    return fail(ErrorKind::invalid,
                "listening on {} without a token would let everybody who reaches it read and delete "
                "what was recorded: give one with --token-file",
                options.listen);
  }
  for (const std::string& name : options.allowed_hosts) {
    if (!authority_host(name))
      return fail(ErrorKind::invalid, "'{}' is not the name of a host (--allowed-host)", name);
  }
  std::unique_ptr<asio::ssl::context> tls;
  if (options.tls) {
    TRY_ASSIGN(tls, make_tls_context(*options.tls));
  }
  auto server = std::make_unique<BeastServer>(std::move(options), std::move(tls));
  TRY(server->bind(endpoint));
  return server;
}

}  // namespace lookback::http
