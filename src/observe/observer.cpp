#include "lookback/observe/observer.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "lookback/base/log.hpp"
#include "observe/bpf/events.h"
#include "observe/cgroup_files.hpp"
#include "observe/container_facts.hpp"
#include "observe/event_packer.hpp"
#include "observe/kernel_programs.hpp"
#include "observe/live_table.hpp"
#include "observe/network_scan.hpp"
#include "observe/proc_files.hpp"
#include "observe/socket_scan.hpp"
#include "observe/translator.hpp"
#include "observe/unused_sockets.hpp"

namespace lookback::observe {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDrainPause{40};
constexpr int64_t kFlushPauseNs = 200'000'000;
constexpr int64_t kHousekeepingPauseNs = kNsPerSecond;
/// So often the state is held against the kernel's own, even if nothing is known to have been lost.
constexpr int64_t kRescanPauseNs = 600 * kNsPerSecond;
/// Losses that are remembered one by one; beyond that the oldest run together.
constexpr size_t kMostLosses = 4096;
/// After losses, not more often than this: a scan takes its time.
constexpr int64_t kLossRescanPauseNs = 30 * kNsPerSecond;
/// After a change of interfaces or addresses, not more often than this.
constexpr int64_t kNetworkScanPauseNs = 2 * kNsPerSecond;
/// A socket that nobody has used for so long after it was accepted is looked up in /proc. Less than
/// an export reads ahead of the packets.
constexpr int64_t kUnusedNs = 4 * kNsPerSecond;
constexpr size_t kMostCgroupPaths = 200'000, kMostUnknownNetworks = 10'000;

class Recorder final : public Observer {
 public:
  Recorder(ObserverOptions options, const Clock& clock, std::unique_ptr<EventStore> store)
      : options_(std::move(options)),
        clock_(clock),
        store_(std::move(store)),
        translator_(table_, surroundings(), [this](const Event& event) { keep(event); }) {}
  ~Recorder() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  void begin();
  ObserverStatus status() const override;
  uint64_t lost_in(TimeWindow window) const override;
  Result<> freeze(const std::string& id, TimeWindow window) override;
  EventStore& store() override { return *store_; }

 private:
  struct Loss {
    int64_t from_ns, to_ns;
    uint64_t count;
  };
  [[nodiscard]] Surroundings surroundings();
  void run();
  void scan_all();
  void scan_processes();
  void scan_socket_table();
  void scan_network_table();
  void tell_problems(const std::vector<std::string>& problems) const;
  void follow_networks(int64_t monotonic_ns);
  void tell_unused(int64_t accepted_before_ns);
  void rescan();
  void drain();
  void keep(const Event& event);
  void begin_segment();
  void housekeep(int64_t now_ns);
  void tell_lost(uint64_t count, const std::string& reason);
  void note_loss(const Loss& loss);
  [[nodiscard]] std::optional<Event> look_up_process(uint32_t pid);
  [[nodiscard]] Event look_up_cgroup(uint64_t key, uint32_t pid);
  void publish();

  const ObserverOptions options_;
  const Clock& clock_;
  std::unique_ptr<EventStore> store_;
  std::optional<EventPacker> packer_;
  std::string boot_id_;

  // the thread's
  std::unique_ptr<KernelPrograms> programs_;
  CgroupFiles cgroups_ = CgroupFiles::find();
  std::unordered_map<uint64_t, std::string> cgroup_paths_;
  LiveTable table_;
  Translator translator_;
  bool keeping_ = false;  // there is an open segment to keep events in
  uint64_t events_ = 0;
  KernelCounters counted_;
  int64_t counted_ns_ = 0, flushed_ns_ = 0, housekept_ns_ = 0, rescanned_ns_ = 0;
  bool rescan_wanted_ = false;
  std::optional<NetworkWatch> network_watch_;
  bool network_scan_wanted_ = false;
  int64_t networks_scanned_ns_ = 0, segment_began_ns_ = 0;
  UnusedSockets unused_;
  std::unordered_set<uint32_t> unknown_networks_;  ///< that no scan has found

  mutable std::mutex mutex_;
  std::condition_variable wake_, sealed_;
  bool stopping_ = false, running_ = false;
  uint64_t seals_wanted_ = 0, seals_done_ = 0;
  ObserverStatus status_;
  std::deque<Loss> losses_;
  std::thread thread_;
};

Surroundings Recorder::surroundings() {
  Surroundings around;
  around.drop_reason = [this](uint32_t reason) { return programs_->drop_reason(reason); };
  around.look_up_process = [this](uint32_t pid) { return look_up_process(pid); };
  around.look_up_cgroup = [this](uint64_t key, uint32_t pid) { return look_up_cgroup(key, pid); };
  around.on_cgroup_path = [this](uint64_t key, std::string path) {
    if (cgroup_paths_.size() >= kMostCgroupPaths) cgroup_paths_.clear();
    cgroup_paths_[key] = std::move(path);
  };
  around.v1_hierarchy = cgroups_.v1_hierarchy();
  return around;
}

void Recorder::begin() {
  status_.state = "off";
  if (!options_.enabled) {
    status_.reason = "switched off";
    return;
  }
  boot_id_ = read_small_file("/proc/sys/kernel/random/boot_id", 64).value_or("");
  while (!boot_id_.empty() && boot_id_.back() == '\n') boot_id_.pop_back();
  KernelPrograms::Options options;
  options.ring_bytes = options_.ring_bytes;
  auto programs = KernelPrograms::load(options);
  if (!programs) {
    status_.reason = programs.error().message;
    log_warning("processes and sockets are not recorded: {}", status_.reason);
    return;
  }
  programs_ = std::move(*programs);
  status_.state = "recording";
  if (auto watch = NetworkWatch::open()) {
    network_watch_ = std::move(*watch);
  } else {
    log_warning("changes of interfaces are noticed late: {}", watch.error().message);
  }
  for (const auto& part : programs_->missing())
    status_.reason += (status_.reason.empty() ? "" : "; ") + part;
  scan_all();
  begin_segment();
  if (!status_.reason.empty()) {
    status_.state = "degraded";
    log_warning("of processes and sockets this is not recorded: {}", status_.reason);
  }
  packer_.emplace(*store_);
  running_ = true;
  thread_ = std::thread([this] { run(); });
}

void Recorder::scan_all() {
  for (auto& one : cgroups_.scan()) cgroup_paths_[one.key] = std::move(one.path);
  translator_.set_clock(ClockBase::now());
  scan_processes();
  scan_socket_table();
  unknown_networks_.clear();
  scan_network_table();
  rescanned_ns_ = clock_.monotonic_ns();
}

void Recorder::scan_processes() {
  const int64_t now = clock_.realtime_ns();
  for (const uint32_t pid : list_processes()) {
    if (table_.process(pid) != nullptr) continue;
    if (auto process = look_up_process(pid)) {
      process->time_ns = now;
      translator_.emit(std::move(*process));
    }
  }
}

void Recorder::scan_socket_table() {
  auto scan = scan_sockets();
  const int64_t now = clock_.realtime_ns();
  tell_problems(scan.problems);
  if (!keeping_ && status_.reason.empty() && !scan.problems.empty())
    status_.reason = scan.problems.front();
  for (auto& socket : scan.sockets) {
    if (const Event* known = table_.socket_at(Ends::of(socket));
        known != nullptr && known->state == socket.state)
      continue;
    if (const Event* owner = table_.process(socket.pid)) {
      socket.comm = owner->comm;
      socket.uid = owner->uid;
    }
    socket.time_ns = now;
    translator_.emit(std::move(socket));
  }
}

/// At the start they are news; later on they are the same ones over and over.
void Recorder::tell_problems(const std::vector<std::string>& problems) const {
  const auto level = keeping_ ? LogLevel::debug : LogLevel::warning;
  if (log_level() > level) return;
  for (const auto& problem : problems) log_line(level, problem);
}

void Recorder::scan_network_table() {
  network_scan_wanted_ = false;
  networks_scanned_ns_ = clock_.monotonic_ns();
  auto scan = scan_networks();
  tell_problems(scan.problems);
  const int64_t now = clock_.realtime_ns();
  std::unordered_set<uint32_t> networks, interfaces;
  const auto tell = [&](Event& event, const Event* known) {
    if (known != nullptr) event.time_ns = known->time_ns;
    if (known != nullptr && *known == event) return;
    event.time_ns = now;
    translator_.emit(std::move(event));
  };
  for (Event& network : scan.networks) {
    networks.insert(network.netns);
    tell(network, table_.network(network.netns));
  }
  for (Event& interface : scan.interfaces) {
    interfaces.insert(interface.interface);
    tell(interface, table_.interface(interface.interface));
  }
  table_.keep_networks(networks, interfaces);
}

void Recorder::follow_networks(int64_t monotonic_ns) {
  if (network_watch_ && network_watch_->changed()) network_scan_wanted_ = true;
  if (network_scan_wanted_ && monotonic_ns - networks_scanned_ns_ >= kNetworkScanPauseNs)
    scan_network_table();
}

void Recorder::tell_unused(int64_t accepted_before_ns) {
  for (Event& owner : unused_.find_owners(accepted_before_ns, table_)) {
    // It has been so since then, and a window that is being frozen ends before now.
    owner.time_ns = std::max(owner.time_ns, segment_began_ns_);
    translator_.emit(std::move(owner));
  }
}

/// What has gone without being told of is dropped from the state; what is there and was not told of
/// is taken in.
void Recorder::rescan() {
  const auto pids = list_processes();
  const std::unordered_set<uint32_t> there(pids.begin(), pids.end());
  std::vector<uint32_t> gone;
  table_.each_process([&](const Event& process) {
    if (there.count(process.pid) == 0) gone.push_back(process.pid);
  });
  const auto scan = scan_sockets();
  std::unordered_set<Ends, EndsHash> ends;
  for (const auto& socket : scan.sockets) ends.insert(Ends::of(socket));
  std::vector<uint64_t> closed;
  table_.each_socket([&](const Event& socket) {
    // What could not be looked for may be there.
    if (scan.problems.empty() && ends.count(Ends::of(socket)) == 0) closed.push_back(socket.socket);
  });
  // Both lists were made before the ring is read on: what came to be since is told of there.
  for (const uint32_t pid : gone) table_.erase_process(pid);
  for (const uint64_t socket : closed) table_.erase_socket(socket);
  scan_all();
  drain();
  begin_segment();
}

std::optional<Event> Recorder::look_up_process(uint32_t pid) {
  auto process = read_process(pid, ClockBase::now());
  if (!process) return std::nullopt;
  const auto in = cgroups_.of_process(pid);
  for (const auto& one : in)
    if (one.key != 0) cgroup_paths_[one.key] = one.path;
  process->cgroup = translator_.choose_cgroup(in[0].key, in[1].key, pid);
  return process;
}

Event Recorder::look_up_cgroup(uint64_t key, uint32_t pid) {
  Event event;
  event.kind = Kind::cgroup;
  event.cgroup = key;
  auto path = cgroup_paths_.find(key);
  if (path == cgroup_paths_.end() && pid != 0) {
    for (const auto& one : cgroups_.of_process(pid))
      if (one.key != 0) cgroup_paths_[one.key] = one.path;
    path = cgroup_paths_.find(key);
  }
  if (path == cgroup_paths_.end()) return event;
  event.text = path->second;
  const auto container = container_of_cgroup(event.text);
  if (!container) return event;
  const auto facts = container_facts(*container);
  event.container = container->id;
  event.runtime = container->runtime.empty() ? facts.runtime : container->runtime;
  event.pod_uid = container->pod_uid;
  event.name = facts.name;
  event.image = facts.image;
  return event;
}

void Recorder::keep(const Event& event) {
  if (!keeping_) return;
  if (event.socket != 0 && event.netns != 0 && table_.network(event.netns) == nullptr) {
    if (unknown_networks_.size() >= kMostUnknownNetworks) unknown_networks_.clear();
    if (unknown_networks_.insert(event.netns).second) network_scan_wanted_ = true;
  }
  unused_.note(event);
  ++events_;
  store_->append(event);
}

void Recorder::begin_segment() {
  table_.forget_unused_cgroups();
  segment_began_ns_ = clock_.realtime_ns();
  store_->begin_segment(segment_began_ns_, [this](const auto& take) {
    table_.checkpoint(clock_.realtime_ns(), boot_id_, take);
  });
  keeping_ = true;
}

void Recorder::drain() {
  translator_.set_clock(ClockBase::now());
  programs_->drain([this](std::span<const std::byte> record) { translator_.take(record); });
}

void Recorder::tell_lost(uint64_t count, const std::string& reason) {
  Event event;
  event.kind = Kind::lost;
  event.time_ns = clock_.realtime_ns();
  event.count = count;
  event.from_ns = counted_ns_;
  event.text = reason;
  translator_.emit(std::move(event));
}

void Recorder::note_loss(const Loss& loss) {
  const std::lock_guard lock(mutex_);
  losses_.push_back(loss);
  if (losses_.size() <= kMostLosses) return;
  const Loss oldest = losses_.front();
  losses_.pop_front();
  losses_.front().from_ns = oldest.from_ns;
  losses_.front().count += oldest.count;
}

void Recorder::housekeep(int64_t now_ns) {
  const auto counters = programs_->counters();
  if (counters.lost > counted_.lost) {
    tell_lost(counters.lost - counted_.lost, "the ring buffer was full");
    rescan_wanted_ = true;
    note_loss({counted_ns_, now_ns, counters.lost - counted_.lost});
  }
  if (counters.table_full > counted_.table_full)
    tell_lost(counters.table_full - counted_.table_full,
              "more sockets than the kernel's table holds");
  if (counters.limited > counted_.limited)
    tell_lost(counters.limited - counted_.limited,
              "more resets and retransmits than are recorded in a moment");
  if (counters.owner_swaps > counted_.owner_swaps)
    tell_lost(counters.owner_swaps - counted_.owner_swaps,
              "sockets that several processes use in turns");
  for (uint32_t reason = 0; reason < counters.drops_over_limit.size(); ++reason) {
    const uint64_t before =
        reason < counted_.drops_over_limit.size() ? counted_.drops_over_limit[reason] : 0;
    if (counters.drops_over_limit[reason] <= before) continue;
    Event event;
    event.kind = Kind::drop;
    event.time_ns = now_ns;
    event.text = programs_->drop_reason(reason);
    event.count = counters.drops_over_limit[reason] - before;
    translator_.emit(std::move(event));
  }
  counted_ = counters;
  counted_ns_ = now_ns;
  store_->recycle();
  if (options_.is_frozen) store_->keep_freezes(options_.is_frozen);
}

void Recorder::publish() {
  const std::lock_guard lock(mutex_);
  status_.events = events_;
  status_.lost = counted_.lost;
  status_.missed = counted_.missed;
  status_.limited = counted_.limited;
  for (const uint64_t count : counted_.drops_over_limit) status_.limited += count;
  status_.processes = table_.processes();
  status_.sockets = table_.sockets();
}

void Recorder::run() {
  prctl(PR_SET_NAME, "observer");
  counted_ns_ = clock_.realtime_ns();
  for (;;) {
    uint64_t seals = 0;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kDrainPause, [&] { return stopping_ || seals_wanted_ != seals_done_; });
      seals = seals_wanted_;
      if (stopping_) break;
    }
    drain();
    const int64_t now = clock_.realtime_ns(), monotonic = clock_.monotonic_ns();
    // What is frozen is to know of all losses up to there.
    if (seals != seals_done_ || monotonic - housekept_ns_ >= kHousekeepingPauseNs) {
      housekept_ns_ = monotonic;
      housekeep(now);
      follow_networks(monotonic);
      tell_unused(now - kUnusedNs);
      publish();
    }
    const int64_t since_scan = monotonic - rescanned_ns_;
    if (since_scan >= kRescanPauseNs || (rescan_wanted_ && since_scan >= kLossRescanPauseNs)) {
      rescan_wanted_ = false;
      rescan();
    }
    if (monotonic - flushed_ns_ >= kFlushPauseNs) {
      flushed_ns_ = monotonic;
      store_->flush();
    }
    if (seals != seals_done_) tell_unused(now);
    if (seals != seals_done_ || store_->wants_segment(now)) begin_segment();
    if (seals != seals_done_) {
      const std::lock_guard lock(mutex_);
      seals_done_ = seals;
      sealed_.notify_all();
    }
  }
  drain();
  store_->flush();
  const std::lock_guard lock(mutex_);
  running_ = false;
  sealed_.notify_all();
}

ObserverStatus Recorder::status() const {
  ObserverStatus status;
  {
    const std::lock_guard lock(mutex_);
    status = status_;
  }
  status.store = store_->status();
  if (status.state == "recording" && status.store.shortened) {
    status.state = "degraded";
    status.reason = "events do not reach as far back as packets: the event storage is too small";
  }
  return status;
}

uint64_t Recorder::lost_in(TimeWindow window) const {
  const std::lock_guard lock(mutex_);
  uint64_t count = 0;
  for (const auto& loss : losses_)
    if (loss.from_ns < window.to_ns && loss.to_ns >= window.from_ns) count += loss.count;
  return count;
}

Result<> Recorder::freeze(const std::string& id, TimeWindow window) {
  {
    std::unique_lock lock(mutex_);
    if (running_) {
      const uint64_t wanted = ++seals_wanted_;
      wake_.notify_all();
      sealed_.wait(lock, [&] { return seals_done_ >= wanted || !running_; });
    }
  }
  return store_->freeze(id, window);
}

}  // namespace

Result<std::unique_ptr<Observer>> Observer::start(ObserverOptions options, const Clock& clock) {
  TRY_ASSIGN(auto store, EventStore::open(options.store));
  auto recorder = std::make_unique<Recorder>(std::move(options), clock, std::move(store));
  recorder->begin();
  return recorder;
}

}  // namespace lookback::observe
