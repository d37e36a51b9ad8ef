#include "lookback/node/capture_daemon.hpp"

#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "lookback/base/json.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/time.hpp"
#include "lookback/http/url.hpp"
#include "lookback/observe/observer.hpp"
#include "lookback/store/store.hpp"
#include "node/api.hpp"
#include "node/documents.hpp"
#include "node/freeze_service.hpp"
#include "node/heartbeat.hpp"
#include "node/member_pool.hpp"
#include "node/memory_budget.hpp"
#include "node/recorder.hpp"
#include "node/self_exclusion.hpp"

namespace lookback::node {
namespace {

constexpr const char* kExclusionsFile = "exclusions.json";
constexpr std::chrono::seconds kHousekeeping{5};
/// For members, over all snapshots. With the ring, its spare buffers and what the daemon needs anyway, the process stays below
/// the ring's size and 96 MiB.
constexpr uint64_t kMemberMemory = 32 << 20;
constexpr uint32_t kKernelBlockHeader = 48;  // struct tpacket_block_desc, which tp_sizeof_priv comes behind
constexpr size_t kGapsShown = 100;
constexpr uint64_t kEventShare = 16, kLeastEventBytes = 64 << 20;
/// Without a hub to measure against, nobody reckons with an error: rounding is all there is.
constexpr int64_t kUnmeasuredClockErrorNs = 1'000'000;

class Daemon final : public CaptureDaemon {
 public:
  Daemon(CaptureOptions options, const Clock& clock)
      : options_(std::move(options)), clock_(clock), started_ns_(clock.realtime_ns()) {}
  ~Daemon() override {
    shut_down();
    // Its registered memory is the ring's and the recorder's: it goes before them.
    store_.reset();
  }

  Result<> open(const SourceFactory& source);

  Result<> wait() override {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return stopping_; });
    lock.unlock();
    if (auto failure = recorder_->failure()) return tl::make_unexpected(*failure);
    return {};
  }
  void stop() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
  }
  const CaptureOptions& options() const override { return options_; }
  uint16_t port() const override { return server_->port(); }
  std::string address() const override { return server_->address(); }
  std::string status_json() const override { return dump_json(status_document(state(kGapsShown))); }

 private:
  [[nodiscard]] DaemonState state(size_t gaps) const;
  [[nodiscard]] Result<> start_heartbeat();
  [[nodiscard]] Result<> start_observer();
  [[nodiscard]] observe::EventStoreOptions event_store_options() const;
  void renew_exclusion();
  [[nodiscard]] std::vector<std::string> advertised_addresses() const;
  void keep_house();
  void shut_down();

  CaptureOptions options_;
  const Clock& clock_;
  const int64_t started_ns_;

  // In the order in which they need each other; see the destructor for the way back.
  std::unique_ptr<store::Store> store_;
  ApiParts api_parts_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<SelfExclusion> exclusion_;
  std::unique_ptr<capture::Ring> ring_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<observe::Observer> observer_;
  std::unique_ptr<FreezeService> freezes_;
  MemoryBudget member_memory_{kMemberMemory};
  std::unique_ptr<MemberPool> pool_;
  std::unique_ptr<Heartbeat> heartbeat_;
  std::atomic<bool> heartbeat_ready_{false};

  http::Url hub_;
  std::mutex exclusion_mutex_;
  std::thread housekeeper_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false, housekeeping_ended_ = false;
};

Result<> check_options(CaptureOptions& options) {
  if (options.node.empty()) options.node = default_node_name();
  TRY(check_node_name(options.node));
  if (options.data_dir.empty())
    return fail(ErrorKind::invalid, "no data directory is given (--data-dir)");
  if (!options.hub_url.empty()) TRY(http::parse_url(options.hub_url, "hub"));
  if (!options.advertise_url.empty()) TRY(http::parse_url(options.advertise_url, "node"));
  return {};
}

Result<> Daemon::open(const SourceFactory& source) {
  http::ServerOptions server_options;
  server_options.listen = options_.listen;
  server_options.tls = options_.tls;
  server_options.token = options_.token;
  // The hub shows a node no more than the node's own token.
  server_options.further_tokens = [own = http::node_token(options_.token, options_.node)](
                                      std::string_view token, std::string_view /*node*/) -> std::optional<http::Principal> {
    if (!http::same_token(token, own)) return std::nullopt;
    return http::Principal{std::string(http::to_string(http::Role::admin)), http::Role::admin};
  };
  server_options.insecure = options_.insecure;
  server_options.allowed_hosts = options_.allowed_hosts;
  if (!options_.advertise_url.empty()) {
    TRY_ASSIGN(const http::Url own, http::parse_url(options_.advertise_url, "node"));
    server_options.allowed_hosts.push_back(own.host);
  }
  TRY_ASSIGN(server_, http::Server::create(std::move(server_options)));
  exclusion_ = std::make_unique<SelfExclusion>(server_->address(), server_->port(),
                                               options_.data_dir / kExclusionsFile, clock_);
  if (!options_.hub_url.empty()) {
    TRY_ASSIGN(hub_, http::parse_url(options_.hub_url, "hub"));
    exclusion_->set_hub(resolve(hub_.host), hub_.port, advertised_addresses());
  }

  capture::RingOptions ring_options;
  ring_options.interfaces = options_.interfaces;
  ring_options.promiscuous = options_.promiscuous;
  ring_options.filter = options_.filter;
  ring_options.snaplen = options_.snaplen;
  ring_options.ring_bytes = options_.ring_bytes;
  if (options_.exclude_self) ring_options.exclude = exclusion_->connections();
  ring_options.block_reserve =
      store::block_reserve(capture::ring_block_bytes(options_.ring_bytes)) - kKernelBlockHeader;
  // The ring comes before the store: a wrong filter should not leave a data directory behind.
  const int64_t ring_opened_ns = clock_.realtime_ns();
  TRY_ASSIGN(ring_, source ? source(ring_options) : capture::Ring::open(ring_options));

  store::StoreOptions store_options;
  store_options.directory = options_.data_dir;
  store_options.quota_bytes = options_.storage_bytes;
  store_options.freeze_quota_bytes = options_.freeze_bytes.value_or(0);
  // What events had borrowed when the last process ended is theirs still.
  const uint64_t event_bytes = observe::EventStore::bytes_in(event_store_options().directory);
  store_options.reserved_bytes =
      event_bytes - std::min(event_bytes, event_store_options().quota_bytes);
  TRY_ASSIGN(store_, store::Store::open(store_options, clock_));
  RecorderOptions recorder_options;
  recorder_options.ring_opened_ns = ring_opened_ns;
  recorder_options.spare_buffers =
      static_cast<uint32_t>(options_.ring_bytes / 2 / recorder_options.buffer_bytes);
  TRY_ASSIGN(recorder_, Recorder::start(*ring_, *store_, clock_, recorder_options));
  recorder_->on_failure([this] { stop(); });

  TRY(start_observer());

  FreezeService::Parts parts;
  parts.store = store_.get();
  parts.observer = observer_.get();
  parts.clock = &clock_;
  parts.node_name = options_.node;
  parts.seal = [this] { return recorder_->barrier(); };
  parts.ring_delay_ns = ring_->retire_timeout_ms() * int64_t{1'000'000};
  parts.clock_error_ns = [this] {
    if (heartbeat_ready_.load(std::memory_order_acquire))
      if (const auto clock = heartbeat_->status().clock) return clock->error_ns;
    return kUnmeasuredClockErrorNs;
  };
  freezes_ = std::make_unique<FreezeService>(std::move(parts));
  pool_ = std::make_unique<MemberPool>();

  api_parts_ = {.freezes = freezes_.get(),
                .pool = pool_.get(),
                .memory = &member_memory_,
                .state = [this] { return state(kGapsShown); },
                .on_caller = [this](const std::string& address, uint16_t port) {
                  if (exclusion_->add_caller(address, port)) renew_exclusion();
                },
                .excluded = [this](TimeWindow window) {
                  return options_.exclude_self ? exclusion_->intervals(window) : std::vector<ExcludedInterval>();
                }};
  http::mount<const ApiParts>(*server_, api_routes(), api_parts_);
  TRY(server_->start());
  housekeeper_ = std::thread([this] { keep_house(); });
  if (!options_.hub_url.empty()) TRY(start_heartbeat());
  log_info("node {} records into {} (storage {}, ring {}), API on {}:{}", options_.node,
           options_.data_dir.string(), format_size(options_.storage_bytes),
           format_size(ring_->memory().size()), server_->address(), server_->port());
  return {};
}

observe::EventStoreOptions Daemon::event_store_options() const {
  observe::EventStoreOptions options;
  options.directory = options_.data_dir / "os-events";
  options.quota_bytes = options_.event_storage_bytes.value_or(
      std::max(kLeastEventBytes, options_.storage_bytes / kEventShare));
  return options;
}

Result<> Daemon::start_observer() {
  observe::ObserverOptions options;
  options.enabled = options_.os_events;
  options.store = event_store_options();
  options.store.oldest_packet_ns = [this] { return store_->status().oldest_ns; };
  options.store.borrow = [this](uint64_t bytes) { return store_->set_reserved(bytes); };
  options.is_frozen = [this](const std::string& id) { return store_->find_freeze(id).has_value(); };
  TRY_ASSIGN(observer_, observe::Observer::start(std::move(options), clock_));
  return {};
}

Result<> Daemon::start_heartbeat() {
  Heartbeat::Parts parts;
  parts.node_name = options_.node;
  parts.hub_url = options_.hub_url;
  parts.token = options_.token;
  parts.ca_file = options_.ca_file;
  parts.advertise_url = options_.advertise_url;
  parts.port = server_->port();
  parts.tls = options_.tls.has_value();
  parts.clock = &clock_;
  parts.status = [this] { return dump_json(heartbeat_status_document(state(0))); };
  parts.on_hub = [this](const std::vector<std::string>& addresses) {
    if (exclusion_->set_hub(addresses, hub_.port, advertised_addresses())) renew_exclusion();
  };
  parts.held_freezes = [this] { return freezes_->held(); };
  parts.on_live_freezes = [this](const auto& held, const auto& hub_id, const auto& live) {
    freezes_->settle(held, hub_id, live);
  };
  parts.on_clock = [this](const ClockOffset& offset) {
    ClockSample sample;
    sample.time_ns = offset.measured_ns;
    sample.offset_ns = offset.offset_ns;
    sample.error_ns = offset.error_ns;
    recorder_->add_clock_sample(sample);
  };
  TRY_ASSIGN(heartbeat_, Heartbeat::start(std::move(parts)));
  heartbeat_ready_.store(true, std::memory_order_release);
  return {};
}

void Daemon::renew_exclusion() {
  if (!options_.exclude_self) return;
  // One at a time, so that the last word is the newest.
  const std::lock_guard lock(exclusion_mutex_);
  if (auto set = ring_->set_excluded(exclusion_->connections()); !set)
    log_warning("the daemon's own traffic is recorded: {}", set.error().message);
}

std::vector<std::string> Daemon::advertised_addresses() const {
  if (options_.advertise_url.empty()) return {};
  const auto advertised = http::parse_url(options_.advertise_url, "node");
  if (!advertised) return {};
  std::vector<std::string> addresses = resolve(advertised->host);
  // The way to an address of this machine's own starts at that address; any other is a proxy's.
  std::erase_if(addresses, [](const std::string& address) { return source_address(address) != address; });
  return addresses;
}

void Daemon::keep_house() {
  prctl(PR_SET_NAME, "housekeeper");
  uint64_t trimmed_at = 0;
  std::unique_lock lock(mutex_);
  while (!housekeeping_ended_) {
    lock.unlock();
    if (exclusion_->expire()) renew_exclusion();
    if (options_.exclude_self) exclusion_->save_if_changed();
    // After the last member, what the heap kept of it goes back to the system.
    if (const uint64_t taken = member_memory_.taken(); taken != trimmed_at && member_memory_.used() == 0) {
      trimmed_at = taken;
      malloc_trim(0);
    }
    lock.lock();
    wake_.wait_for(lock, kHousekeeping, [&] { return housekeeping_ended_; });
  }
}

DaemonState Daemon::state(size_t gaps) const {
  DaemonState state;
  state.options = &options_;
  state.started_ns = started_ns_;
  state.store = store_->status();
  state.totals = recorder_->totals();
  state.rates = recorder_->rates();
  state.disk_failing = recorder_->disk_failing();
  state.failure = recorder_->failure();
  if (heartbeat_ready_.load(std::memory_order_acquire)) state.heartbeat = heartbeat_->status();
  state.ring_bytes = ring_->memory().size();
  state.events = observer_->status();
  if (options_.exclude_self) state.excluded = exclusion_->connections();
  if (gaps == 0) return state;
  for (auto& interface : ring_->interfaces())
    if (ring_->selects(interface.name)) state.interfaces.push_back(std::move(interface));
  if (state.store.oldest_ns)
    state.gaps = store_->gaps({*state.store.oldest_ns, std::max(clock_.realtime_ns(), *state.store.newest_ns) + 1});
  state.gap_count = state.gaps.size();
  if (state.gaps.size() > gaps)
    state.gaps.erase(state.gaps.begin(), state.gaps.end() - static_cast<ptrdiff_t>(gaps));
  state.freezes = store_->freezes().size();
  return state;
}

void Daemon::shut_down() {
  {
    const std::lock_guard lock(mutex_);
    housekeeping_ended_ = true;
  }
  wake_.notify_all();
  if (housekeeper_.joinable()) housekeeper_.join();
  if (heartbeat_) heartbeat_->stop();
  // A handler may wait for the pool, and the pool's end is what ends its wait.
  member_memory_.stop();
  if (pool_) pool_->stop();
  if (server_) server_->stop();
  observer_.reset();
  if (recorder_) recorder_->stop();
}

}  // namespace

std::string default_node_name() {
  char text[256] = "";
  gethostname(text, sizeof text - 1);
  std::string name;
  for (const char c : std::string_view(text)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.';
    name += plain ? c : '-';
  }
  name.erase(0, name.find_first_not_of(".-"));
  name.resize(std::min<size_t>(name.size(), 63));
  return check_node_name(name) ? name : "node";
}

Result<std::unique_ptr<CaptureDaemon>> CaptureDaemon::start(CaptureOptions options,
                                                            const Clock& clock,
                                                            SourceFactory source) {
  TRY(check_options(options));
  auto daemon = std::make_unique<Daemon>(std::move(options), clock);
  TRY(daemon->open(source));
  return daemon;
}

}  // namespace lookback::node
