// Opening, closing, the background thread, and what is answered from memory.
#include "lookback/store/store.hpp"

#include <unistd.h>

#include <algorithm>

#include "lookback/base/hash.hpp"
#include "lookback/base/log.hpp"
#include "lookback/store/file_names.hpp"
#include "store/disk_usage.hpp"
#include "store/freeze_record.hpp"
#include "store/store_impl.hpp"

namespace lookback::store {

namespace {
constexpr size_t kMaxDamagePerSegment = 64;
}  // namespace

void DamageLedger::add(uint64_t sequence, const Gap& gap) {
  const std::lock_guard lock(mutex_);
  auto& gaps = gaps_[sequence];
  // The same place is found again at every reading.
  if (std::any_of(gaps.begin(), gaps.end(), [&](const Gap& known) { return known.covers(gap); }))
    return;
  gaps.push_back(gap);
  shorten_gaps(gaps, kMaxDamagePerSegment);
}

void DamageLedger::forget(uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  gaps_.erase(sequence);
}

std::map<uint64_t, std::vector<Gap>> DamageLedger::all() const {
  const std::lock_guard lock(mutex_);
  return gaps_;
}

Result<std::unique_ptr<Store>> Store::open(StoreOptions options, const Clock& clock) {
  TRY_ASSIGN(StoreOptions checked, checked_options(std::move(options)));
  TRY(make_directories(checked.directory, 0700));
  TRY_ASSIGN(FileLock lock, FileLock::acquire(checked.directory / file_names::kLock));
  auto store = std::make_unique<StoreImpl>(std::move(checked), std::move(lock), clock);
  TRY(store->load());
  store->start();
  return store;
}

StoreImpl::StoreImpl(StoreOptions options, FileLock lock, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      lock_(std::move(lock)),
      packets_path_(options_.directory / file_names::kPackets),
      freezes_path_(options_.directory / file_names::kFreezes),
      output_(options_.use_io_uring) {
  catalog_.run_id = random_u64();
  catalog_.run_started_ns = clock_.realtime_ns();
}

StoreImpl::~StoreImpl() {
  if (worker_.joinable()) {
    {
      const std::lock_guard lock(state_);
      stopping_ = true;
    }
    wake_.notify_one();
    worker_.join();
  }
  bool gaps_wait;
  {
    const std::lock_guard lock(state_);
    gaps_wait = !pending_.gaps.empty();
  }
  if (!writer_ && (gaps_wait || complete_ns_)) {
    if (const auto opened = open_segment(0); !opened)
      log_warning("the last gaps, and how far all is there, are not kept: {}",
                  opened.error().message);
  }
  if (writer_) {
    note_completeness();
    close_segment();
  }
  ::unlink((packets_path_ / file_names::kPrepared).c_str());
}

void StoreImpl::start() {
  worker_ = std::thread([this] { work(); });
}

void StoreImpl::work() {
  std::unique_lock lock(state_);
  for (;;) {
    wake_.wait(lock, [&] {
      return stopping_ || want_prepared_ || want_expiry_ || !unsynced_freezes_.empty();
    });
    if (stopping_) return;
    if (want_prepared_) {
      lock.unlock();
      {
        const std::lock_guard structure(structure_);
        lock.lock();
        const bool still = want_prepared_ && !prepared_;
        want_prepared_ = false;
        lock.unlock();
        // When there is no space the recorder finds out by itself, and counts what it loses.
        if (still) {
          if (const auto prepared = prepare_locked(options_.segment_bytes); !prepared)
            log_warning("{}", prepared.error().message);
        }
      }
      lock.lock();
    } else if (want_expiry_) {
      want_expiry_ = false;
      lock.unlock();
      {
        const std::lock_guard structure(structure_);
        expire_locked();
      }
      lock.lock();
    } else {
      const std::string id = unsynced_freezes_.back();
      unsynced_freezes_.pop_back();
      lock.unlock();
      // It may have been released meanwhile.
      if (const auto synced = sync_freeze(freeze_path(id));
          !synced && synced.error().kind != ErrorKind::not_found)
        log_warning("freeze {} may not survive a power cut: {}", id, synced.error().message);
      lock.lock();
    }
  }
}

std::filesystem::path StoreImpl::segment_path(uint64_t sequence) const {
  return packets_path_ / file_names::segment(sequence);
}
std::filesystem::path StoreImpl::freeze_path(const std::string& id) const {
  return freezes_path_ / id;
}

StoreStatus StoreImpl::status() const {
  const auto damage = damage_->all();
  const std::lock_guard lock(state_);
  StoreStatus status;
  status.quota_bytes = options_.quota_bytes;
  status.used_bytes = used_bytes_state_locked() - reserved_;
  status.reserved_bytes = reserved_;
  status.frozen_bytes = catalog_.frozen_bytes();
  status.segments = catalog_.segments.size();
  for (const auto& [sequence, segment] : catalog_.segments) {
    status.packets += segment.packets;
    if (segment.damaged || damage.count(sequence) != 0) ++status.damaged_segments;
  }
  for (auto it = catalog_.unbroken_begin(); it != catalog_.segments.end(); ++it) {
    const Segment& segment = it->second;
    if (segment.chunks.empty()) continue;
    status.oldest_ns = std::min(status.oldest_ns.value_or(segment.first_ns), segment.first_ns);
    status.newest_ns = std::max(status.newest_ns.value_or(segment.last_ns), segment.last_ns);
  }
  return status;
}

std::vector<Gap> StoreImpl::gaps(TimeWindow window) const {
  return gaps_of(window, {});
}

std::vector<Gap> StoreImpl::gaps_of(TimeWindow window, const Catalog::Asked& asked) const {
  const auto damage = damage_->all();
  const std::lock_guard lock(state_);
  std::vector<Gap> found = catalog_.gaps(window, asked, pending_.clock);
  const auto add = [&](uint64_t sequence, const Gap& gap) {
    if (gap.touches(window) && (!asked || asked(sequence, gap))) found.push_back(gap);
  };
  for (const Gap& gap : pending_.gaps) add(0, gap);
  for (const auto& [sequence, gaps] : damage)
    for (const Gap& gap : gaps) add(sequence, gap);
  std::stable_sort(found.begin(), found.end(),
                   [](const Gap& a, const Gap& b) { return a.start_ns < b.start_ns; });
  return found;
}

}  // namespace lookback::store
