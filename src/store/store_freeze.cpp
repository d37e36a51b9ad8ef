// Freezes: made, found, renewed, released, read.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "lookback/store/file_names.hpp"
#include "store/disk_usage.hpp"
#include "store/freeze_record.hpp"
#include "store/store_impl.hpp"

namespace lookback::store {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxFreezes = 1024;
constexpr size_t kMaxExtraBytes = 64 << 10;

/// False where it was known.
bool add_news(std::vector<Gap>& gaps, const Gap& gap) {
  if (std::any_of(gaps.begin(), gaps.end(), [&](const Gap& known) { return known.covers(gap); }))
    return false;
  gaps.push_back(gap);
  shorten_gaps(gaps, kMaxGapsOfFreeze);
  return true;
}

}  // namespace

Result<> StoreImpl::build_freeze_directory(const Freeze& freeze,
                                           const std::vector<uint64_t>& sequences,
                                           const std::string& json) const {
  const fs::path work = freezes_path_ / file_names::freeze_in_work(freeze.id);
  std::error_code ec;
  fs::remove_all(work, ec);
  const auto built = [&]() -> Result<> {
    if (::mkdir(work.c_str(), 0700) != 0)
      return fail_errno(errno, fmt::format("cannot create {}", work.string()));
    TRY_ASSIGN(const Fd from, open_file(packets_path_, O_PATH | O_DIRECTORY));
    TRY_ASSIGN(const Fd to, open_file(work, O_PATH | O_DIRECTORY));
    for (const uint64_t sequence : sequences) {
      const std::string name = file_names::segment(sequence);
      if (::linkat(from.get(), name.c_str(), to.get(), name.c_str(), 0) != 0)
        return fail_errno(errno, fmt::format("cannot freeze segment {}", sequence));
    }
    TRY(write_freeze(work, json));
    if (::rename(work.c_str(), freeze_path(freeze.id).c_str()) != 0)
      return fail_errno(errno, fmt::format("cannot name freeze {}", freeze.id));
    return {};
  }();
  if (!built) fs::remove_all(work, ec);
  return built;
}

void StoreImpl::unpin(const std::vector<uint64_t>& sequences) {
  for (const uint64_t sequence : sequences) {
    const auto it = catalog_.segments.find(sequence);
    if (it != catalog_.segments.end() && it->second.freezes > 0) --it->second.freezes;
  }
}

Result<Freeze> StoreImpl::freeze(const FreezeRequest& request) {
  TRY(check_snapshot_name(request.id));
  if (request.window.empty()) return fail(ErrorKind::invalid, "the window to freeze is empty");
  if (request.time_to_live_ns <= 0)
    return fail(ErrorKind::invalid, "a freeze needs a time to live");
  if (request.extra.size() > kMaxExtraBytes)
    return fail(ErrorKind::invalid, "a freeze takes {} bytes of its caller's at most",
                kMaxExtraBytes);
  const std::lock_guard structure(structure_);
  if (auto present = find_freeze(request.id)) return present;
  release_locked(request.id);  // one of that name may have passed its time
  TRY_ASSIGN(Selection selection, select_locked(request));

  FreezeEntry entry;
  Freeze& freeze = entry.freeze;
  freeze.id = request.id;
  freeze.owner = request.owner;
  freeze.extra = request.extra;
  freeze.window = selection.window;
  freeze.parts = std::move(selection.parts);
  freeze.created_ns = clock_.realtime_ns();
  freeze.expires_ns = freeze.created_ns + std::min(request.time_to_live_ns, kMostFreezeLife);
  freeze.runs = std::move(selection.runs);
  freeze.gaps = std::move(selection.gaps);
  freeze.clock = std::move(selection.clock);
  freeze.oldest_ns = status().oldest_ns;
  {
    const std::lock_guard state(state_);
    if (freezes_.size() >= kMaxFreezes)
      return fail(ErrorKind::conflict, "there are {} freezes already", freezes_.size());
    // Pinned before room is made for the record: making room recycles.
    for (const uint64_t sequence : selection.sequences) ++catalog_.segments.at(sequence).freezes;
  }
  const auto give_back = [&](const Error& error) {
    const std::lock_guard state(state_);
    unpin(selection.sequences);
    freeze_in_work_cost_ = 0;
    return tl::make_unexpected(error.in(fmt::format("cannot freeze {}", request.id)));
  };

  std::string json = freeze_to_json(freeze);
  const uint64_t estimate = directory_estimate(selection.sequences.size()) +
                            round_up(json.size(), kPageBytes) * 2 + kPageBytes;
  if (const auto room = make_room_locked(estimate); !room) return give_back(room.error());
  {
    const std::lock_guard state(state_);
    freeze_in_work_cost_ = estimate;
    // Making room may have cost one of its own segments, where everything was frozen.
    const auto lost = [&](uint64_t sequence) { return catalog_.segments.count(sequence) == 0; };
    if (std::any_of(selection.sequences.begin(), selection.sequences.end(), lost)) {
      for (FrozenRun& run : freeze.runs) {
        if (run.given_up || !lost(*file_names::segment_sequence(run.segment))) continue;
        run.given_up = true;
        freeze.gaps.push_back(
            {run.first_ns, run.last_ns + 1, run.packets, to_string(GapReason::freeze_quota)});
      }
      shorten_gaps(freeze.gaps, kMaxGapsOfFreeze);
      std::erase_if(selection.sequences, lost);
      json = freeze_to_json(freeze);
    }
  }
  if (const auto built = build_freeze_directory(freeze, selection.sequences, json); !built)
    return give_back(built.error());

  const fs::path directory = freeze_path(request.id);
  entry.cost = cost_of(directory) + cost_of(directory / file_names::kFreezeRecord);
  entry.sequences.insert(selection.sequences.begin(), selection.sequences.end());
  refresh_small_files_locked();
  const std::lock_guard state(state_);
  freeze_in_work_cost_ = 0;
  next_expiry_ns_ = std::min(next_expiry_ns_.load(), freeze.expires_ns);
  unsynced_freezes_.push_back(request.id);
  wake_.notify_one();
  return freezes_.emplace(request.id, std::move(entry)).first->second.freeze;
}

Freeze StoreImpl::with_damage(const FreezeEntry& entry) const {
  Freeze freeze = entry.freeze;
  for (const auto& [sequence, found] : damage_->all()) {
    if (entry.sequences.count(sequence) == 0) continue;
    for (const Gap& gap : found) {
      if (gap.touches(freeze.window)) add_news(freeze.gaps, gap);
    }
  }
  return freeze;
}

Result<> StoreImpl::note_damage(const std::string& id, const std::vector<Gap>& damage) {
  const std::lock_guard structure(structure_);
  std::string json;
  {
    const std::lock_guard state(state_);
    const auto it = freezes_.find(id);
    if (it == freezes_.end() || !alive(it->second.freeze))
      return fail(ErrorKind::not_found, "there is no freeze {}", id);
    auto& gaps = it->second.freeze.gaps;
    bool news = false;
    for (const Gap& gap : damage)
      if (gap.touches(it->second.freeze.window)) news = add_news(gaps, gap) || news;
    if (!news) return {};
    json = freeze_to_json(it->second.freeze);
    unsynced_freezes_.push_back(id);
    wake_.notify_one();
  }
  return write_freeze(freeze_path(id), json);
}

Result<Freeze> StoreImpl::find_freeze(const std::string& id) const {
  const std::lock_guard state(state_);
  const auto it = freezes_.find(id);
  if (it == freezes_.end() || !alive(it->second.freeze))
    return fail(ErrorKind::not_found, "there is no freeze {}", id);
  return with_damage(it->second);
}

std::vector<Freeze> StoreImpl::freezes() const {
  const std::lock_guard state(state_);
  std::vector<Freeze> all;
  for (const auto& [id, entry] : freezes_) {
    if (alive(entry.freeze)) all.push_back(with_damage(entry));
  }
  return all;
}

std::vector<FreezeLabel> StoreImpl::freeze_labels() const {
  const std::lock_guard state(state_);
  std::vector<FreezeLabel> labels;
  labels.reserve(freezes_.size());
  for (const auto& [id, entry] : freezes_) {
    if (alive(entry.freeze)) labels.push_back({id, entry.freeze.owner, entry.freeze.extra});
  }
  return labels;
}

Result<> StoreImpl::renew_freeze(const std::string& id, int64_t time_to_live_ns) {
  if (time_to_live_ns <= 0) return fail(ErrorKind::invalid, "a freeze needs a time to live");
  const std::lock_guard structure(structure_);
  std::string json;
  {
    const std::lock_guard state(state_);
    const auto it = freezes_.find(id);
    if (it == freezes_.end() || !alive(it->second.freeze))
      return fail(ErrorKind::not_found, "there is no freeze {}", id);
    const int64_t now = clock_.realtime_ns();
    it->second.freeze.expires_ns = now + std::min(time_to_live_ns, kMostFreezeLife);
    next_expiry_ns_ = std::min(next_expiry_ns_.load(), it->second.freeze.expires_ns);
    json = freeze_to_json(it->second.freeze);
    unsynced_freezes_.push_back(id);
    wake_.notify_one();
  }
  return write_freeze(freeze_path(id), json);
}

Result<> StoreImpl::release_freeze(const std::string& id) {
  const std::lock_guard structure(structure_);
  release_locked(id);
  return {};
}

void StoreImpl::release_locked(const std::string& id) {
  {
    const std::lock_guard state(state_);
    if (freezes_.count(id) == 0) return;
  }
  const fs::path work = freezes_path_ / file_names::freeze_in_work(id);
  std::error_code ec;
  fs::remove_all(work, ec);
  // Renamed first: a freeze that is half taken apart must not come back when the process is killed
  // here.
  if (::rename(freeze_path(id).c_str(), work.c_str()) != 0 && errno != ENOENT)
    log_warning("freeze {}: {}", id, errno_error(errno, "rename").message);
  fs::remove_all(work, ec);
  if (ec) log_warning("freeze {}: cannot remove {}: {}", id, work.string(), ec.message());
  const std::lock_guard state(state_);
  const auto it = freezes_.find(id);
  unpin({it->second.sequences.begin(), it->second.sequences.end()});
  freezes_.erase(it);
}

void StoreImpl::expire_locked() {
  std::vector<std::string> expired;
  std::vector<std::pair<std::string, std::string>> shortened;  // id and record
  {
    const std::lock_guard state(state_);
    int64_t next = std::numeric_limits<int64_t>::max();
    const int64_t latest = clock_.realtime_ns() + kMostFreezeLife;
    for (auto& [id, entry] : freezes_) {
      if (!alive(entry.freeze)) {
        expired.push_back(id);
        continue;
      }
      // The clock was set back, or an earlier version took any life.
      if (entry.freeze.expires_ns > latest) {
        entry.freeze.expires_ns = latest;
        shortened.emplace_back(id, freeze_to_json(entry.freeze));
      }
      next = std::min(next, entry.freeze.expires_ns);
    }
    next_expiry_ns_ = next;
  }
  for (const auto& [id, record] : shortened) {
    log_info("freeze {} would live for more than a day, and is cut to that", id);
    if (const auto written = write_freeze(freeze_path(id), record); !written)
      log_warning("freeze {}: {}", id, written.error().message);
  }
  for (const std::string& id : expired) {
    log_info("freeze {} has passed its time and is released", id);
    release_locked(id);
  }
}

}  // namespace lookback::store
