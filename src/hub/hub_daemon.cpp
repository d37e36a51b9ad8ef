#include "lookback/hub/hub_daemon.hpp"

#include "api.hpp"
#include "json_text.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/log.hpp"
#include "parallel.hpp"
#include "verify_job.hpp"

namespace lookback::hub {

namespace {

constexpr std::chrono::seconds kHousekeeping{1};
constexpr unsigned kWorkers = 8;

/// The hub's id, made at its first start.
Result<std::string> hub_id_of(const std::filesystem::path& file) {
  auto text = read_file(file, 1 << 16);
  if (text) {
    TRY_ASSIGN(const Json json, parse_json(*text, file.string()));
    return json_get<std::string>(json, "id");
  }
  if (text.error().kind != ErrorKind::not_found) return tl::make_unexpected(text.error());
  const std::string id = random_hex(8);
  TRY(write_file_atomically(file, to_text({{"id", id}})));
  return id;
}

class Daemon final : public HubDaemon {
 public:
  Daemon(const HubOptions& options, HubPaths paths, FileLock lock, std::string hub_id,
         std::unique_ptr<http::Server> server, const Clock& clock)
      : lock_(std::move(lock)),
        nodes_(paths.nodes(), clock, {options.tls.has_value(), options.any_node_address}),
        library_(paths),
        budget_(paths.root, options.snapshot_storage_bytes,
                [this] { return library_.total_bytes(); }),
        exports_(clock),
        long_work_(paths.work(), {verify_job_kind(library_)}, clock, events_),
        server_(std::move(server)),
        snapshots_(paths, hub_id, {options.token, options.ca_file, options.tls.has_value()}, clock, nodes_, library_,
                   budget_, events_, counters_),
        context_{paths,      hub_id,         clock,    nodes_,  library_,  budget_,
                 snapshots_, long_work_,     exports_, events_, counters_, *server_} {}

  ~Daemon() override { stop(); }

  [[nodiscard]] Result<> begin() {
    library_.scan();
    snapshots_.resume();
    TRY(long_work_.open());
    for (const ApiTable& table : api_tables()) http::mount(*server_, table, context_);
    TRY(server_->start());
    auto thread = try_thread([this] { keep_house(); });
    if (!thread) return fail(ErrorKind::failed, "the system gives no thread");
    housekeeper_ = std::move(*thread);
    return {};
  }

  uint16_t port() const override { return server_->port(); }
  std::string address() const override { return server_->address(); }
  std::string status_json() const override { return status_document(context_); }

  void stop() override {
    const std::lock_guard stop_lock(stop_mutex_);
    {
      const std::lock_guard lock(mutex_);
      if (context_.stopping) return;
      context_.stopping = true;
    }
    changed_.notify_all();
    events_.close();
    snapshots_.suspend();
    server_->stop();
    snapshots_.wait();
    long_work_.stop();
    if (housekeeper_.joinable()) housekeeper_.join();
    nodes_.save_if_due(true);
  }

 private:
  void keep_house() {
    std::unique_lock lock(mutex_);
    while (!context_.stopping) {
      changed_.wait_for(lock, kHousekeeping, [&] { return context_.stopping.load(); });
      lock.unlock();
      snapshots_.reap();
      nodes_.save_if_due();
      lock.lock();
    }
  }

  FileLock lock_;
  NodeRegistry nodes_;
  Library library_;
  DiskBudget budget_;
  EventFeed events_;
  HubCounters counters_;
  ExportLog exports_;
  Jobs long_work_;
  std::unique_ptr<http::Server> server_;
  SnapshotService snapshots_;
  ApiContext context_;
  std::mutex stop_mutex_, mutex_;
  std::condition_variable changed_;
  std::thread housekeeper_;
};

}  // namespace

Result<std::unique_ptr<HubDaemon>> HubDaemon::start(HubOptions options, const Clock& clock) {
  if (options.data_dir.empty()) return fail(ErrorKind::invalid, "the hub needs a data directory");
  http::ServerOptions server_options;
  server_options.listen = options.listen;
  server_options.tls = options.tls;
  server_options.token = options.token;
  server_options.further_tokens = http::derived_tokens(options.token);
  server_options.insecure = options.insecure;
  server_options.allowed_hosts = options.allowed_hosts;
  server_options.workers = kWorkers;
  TRY_ASSIGN(std::unique_ptr<http::Server> server, http::Server::create(std::move(server_options)));
  const HubPaths paths{options.data_dir};
  TRY(make_directories(paths.root));
  auto lock = FileLock::acquire(paths.lock());
  if (!lock) {
    if (lock.error().kind != ErrorKind::conflict) return tl::make_unexpected(lock.error());
    return fail(ErrorKind::conflict, "another hub works in {}", paths.root.string());
  }
  TRY(make_directories(paths.snapshots()));
  TRY(make_directories(paths.heads()));
  TRY(make_directories(paths.jobs()));
  TRY_ASSIGN(std::string hub_id, hub_id_of(paths.hub()));
  auto daemon = std::make_unique<Daemon>(options, paths, std::move(*lock), std::move(hub_id),
                                         std::move(server), clock);
  TRY(daemon->begin());
  return daemon;
}

}  // namespace lookback::hub
