// The space of an event store: what is used, what goes first, what is borrowed, and packing.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "lookback/observe/event_segment.hpp"
#include "lookback/observe/event_segment_format.hpp"
#include "lookback/observe/event_store.hpp"
#include "observe/event_files.hpp"

namespace lookback::observe {
namespace fs = std::filesystem;
namespace {

/// Segments that only freezes hold may take this part of the quota.
constexpr uint64_t kFreezeShare = 2;
/// Kept free, so that writing seldom has to wait for room, and packing has some.
constexpr uint64_t kHeadroomBytes = kEventSegmentBytes;
/// What is borrowed and given back at a time.
constexpr uint64_t kBorrowGrainBytes = 4 << 20;

uint64_t in_grains(uint64_t bytes) {
  return (bytes + kBorrowGrainBytes - 1) / kBorrowGrainBytes * kBorrowGrainBytes;
}

uint64_t beyond(uint64_t bytes, uint64_t quota) {
  return bytes - std::min(bytes, quota);
}

/// Beside its segment; removed when the store is opened.
fs::path unfinished_path(const fs::path& path) {
  return path.parent_path() / ("." + path.filename().string());
}

Result<> write_packed(const fs::path& path, const std::string& bytes, int64_t last_ns) {
  TRY_ASSIGN(const Fd file, open_file(path, O_WRONLY | O_CREAT | O_TRUNC));
  TRY(write_all(file.get(), as_bytes(bytes)));
  timespec time{};
  time.tv_sec = last_ns / kNsPerSecond;
  time.tv_nsec = last_ns % kNsPerSecond;
  const timespec times[2] = {time, time};
  if (futimens(file.get(), times) != 0)
    return fail_errno(errno, fmt::format("the time of {} cannot be set", path.string()));
  return {};
}

}  // namespace

uint64_t EventStore::bytes_in(const fs::path& directory) {
  std::set<ino_t> seen;
  uint64_t bytes = 0;
  std::error_code error;
  for (auto at = fs::recursive_directory_iterator(directory, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    struct stat info {};
    if (at->path().extension() == kEventFileSuffix && lstat(at->path().c_str(), &info) == 0 &&
        S_ISREG(info.st_mode) && seen.insert(info.st_ino).second)
      bytes += in_pages(static_cast<uint64_t>(info.st_size));
  }
  return bytes;
}

bool EventStore::is_live(uint64_t sequence) const {
  const auto at =
      std::lower_bound(segments_.begin(), segments_.end(), sequence,
                       [](const auto& s, uint64_t wanted) { return s.sequence < wanted; });
  return at != segments_.end() && at->sequence == sequence;
}

bool EventStore::is_frozen(uint64_t sequence) const {
  return std::any_of(freezes_.begin(), freezes_.end(), [&](const auto& freeze) {
    return std::any_of(freeze.second.begin(), freeze.second.end(),
                       [&](const auto& one) { return one.sequence == sequence; });
  });
}

/// What only freezes hold, and what it costs.
std::map<uint64_t, uint64_t> EventStore::frozen_alone() const {
  std::map<uint64_t, uint64_t> alone;
  for (const auto& [id, list] : freezes_)
    for (const auto& one : list)
      if (!is_live(one.sequence)) alone[one.sequence] = in_pages(one.disk_bytes);
  return alone;
}

uint64_t EventStore::used_bytes() const {
  uint64_t bytes = packing_bytes_;
  for (const auto& segment : segments_) bytes += in_pages(segment.disk_bytes);
  for (const auto& [sequence, cost] : frozen_alone()) bytes += cost;
  return bytes;
}

std::optional<int64_t> EventStore::oldest_packet_ns() const {
  return options_.oldest_packet_ns ? options_.oldest_packet_ns() : std::nullopt;
}

void EventStore::remove_oldest() {
  const auto path = path_of(segments_.front().sequence);
  std::error_code error;
  if (!fs::remove(path, error) && error)
    log_warning("{} cannot be removed: {}", path.string(), error.message());
  segments_.erase(segments_.begin());
}

/// Of the segments that only freezes hold, gives up the oldest until they take no more.
void EventStore::limit_freezes(uint64_t most_bytes) {
  auto alone = frozen_alone();
  uint64_t bytes = 0;
  for (const auto& [sequence, cost] : alone) bytes += cost;
  for (; bytes > most_bytes; alone.erase(alone.begin())) {
    const uint64_t oldest = alone.begin()->first;
    bytes -= alone.begin()->second;
    log_warning("events of an old freeze are given up: segment {}", oldest);
    for (auto& [id, list] : freezes_) {
      std::error_code error;
      fs::remove(freeze_folder(id) / event_file_name(oldest), error);
      std::erase_if(list, [&](const auto& one) { return one.sequence == oldest; });
    }
  }
}

/// True: more is lent than before.
bool EventStore::borrow(uint64_t bytes) {
  if (!options_.borrow) return false;
  const uint64_t lent = options_.borrow(in_grains(bytes));
  const std::lock_guard lock(mutex_);
  const bool more = lent > borrowed_;
  borrowed_ = lent;
  return more;
}

bool EventStore::make_room(uint64_t bytes, Purpose purpose) {
  const uint64_t cost = in_pages(bytes);
  bool refused = false;
  for (;;) {
    uint64_t missing = 0;
    {
      const std::lock_guard lock(mutex_);
      missing = beyond(used_bytes() + cost, options_.quota_bytes);
      if (missing <= borrowed_) {
        if (purpose == Purpose::write) segments_.back().disk_bytes += bytes;
        return true;
      }
    }
    const auto oldest_packet = oldest_packet_ns();
    {
      const std::lock_guard lock(mutex_);
      const bool ended = segments_.size() > 1;
      const bool needed = ended && oldest_packet && segments_.front().last_ns >= *oldest_packet;
      if (ended && !needed) {
        remove_oldest();
        continue;
      }
      limit_freezes(options_.quota_bytes / kFreezeShare);
      if (refused && ended) {
        if (!shortened_)
          log_warning(
              "events do not reach as far back as packets: --event-storage-size is too small");
        shortened_ = true;
        remove_oldest();
        continue;
      }
      if (refused) {
        const auto alone = frozen_alone();
        if (alone.empty()) return false;
        uint64_t others = 0;
        for (const auto& [sequence, held] : alone) others += held;
        limit_freezes(others - 1);
        continue;
      }
    }
    refused = !borrow(missing);
  }
}

/// While something is borrowed nothing is kept that no packet is old enough for.
void EventStore::drop_unneeded() {
  const auto oldest_packet = oldest_packet_ns();
  const std::lock_guard lock(mutex_);
  while (borrowed_ != 0 && segments_.size() > 1 &&
         used_bytes() + kHeadroomBytes > options_.quota_bytes &&
         !(oldest_packet && segments_.front().last_ns >= *oldest_packet))
    remove_oldest();
}

void EventStore::give_back() {
  uint64_t wanted = 0;
  {
    const std::lock_guard lock(mutex_);
    wanted = in_grains(beyond(used_bytes() + kHeadroomBytes, options_.quota_bytes));
    // A little is kept where more may be needed soon: the packets would have to go for it again.
    if (borrowed_ <= wanted + (wanted == 0 ? 0 : kBorrowGrainBytes)) return;
    borrowed_ = wanted;  // before it is anybody else's
  }
  const uint64_t lent = options_.borrow(wanted);
  const std::lock_guard lock(mutex_);
  borrowed_ = lent;
}

void EventStore::recycle() {
  drop_unneeded();
  // Without room for it, writing says so.
  static_cast<void>(make_room(kHeadroomBytes, Purpose::headroom));
  give_back();
}

bool EventStore::pack_one() {
  Segment segment;
  {
    const std::lock_guard lock(mutex_);
    const auto ended = segments_.empty() ? segments_.end() : segments_.end() - 1;
    const auto found = std::find_if(segments_.begin(), ended, [&](const Segment& one) {
      return !one.packed && !is_frozen(one.sequence);
    });
    if (found == ended) return false;
    segment = *found;
  }
  const auto path = path_of(segment.sequence), unfinished = unfinished_path(path);
  const auto packed = [&]() -> Result<std::string> {
    TRY_ASSIGN(const Fd file, open_file(path, O_RDONLY));
    return pack_event_segment(segment.disk_bytes, [&](std::span<std::byte> out, uint64_t offset) {
      return pread_exact(file.get(), out, offset);
    });
  }();
  const auto settle = [&](const std::function<void(Segment&)>& change) {
    for (auto& one : segments_)
      if (one.sequence == segment.sequence) change(one);
  };
  if (!packed || packed->size() >= segment.disk_bytes) {
    const std::lock_guard lock(mutex_);
    if (!packed && is_live(segment.sequence))
      log_warning("event segment {} stays as it is: {}", segment.sequence, packed.error().message);
    settle([](Segment& one) { one.packed = true; });
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    const uint64_t cost = in_pages(packed->size());
    if (beyond(used_bytes() + cost, options_.quota_bytes) > borrowed_) return false;
    packing_bytes_ = cost;
  }
  auto written = write_packed(unfinished, *packed, segment.last_ns);
  const std::lock_guard lock(mutex_);
  packing_bytes_ = 0;
  std::error_code error;
  // It may have gone or been frozen meanwhile.
  const bool wanted = is_live(segment.sequence) && !is_frozen(segment.sequence);
  if (written && wanted) {
    fs::rename(unfinished, path, error);
    if (error)
      written =
          fail(ErrorKind::failed, "{} cannot be replaced: {}", path.string(), error.message());
  }
  if (written && wanted) {
    settle([&](Segment& one) {
      one.disk_bytes = packed->size();
      one.packed = true;
    });
    pack_troubled_ = false;
    return true;
  }
  fs::remove(unfinished, error);
  if (!written && !std::exchange(pack_troubled_, true))
    log_warning("event segments stay as they are: {}", written.error().message);
  return written.has_value();
}

EventStoreStatus EventStore::status() const {
  const std::lock_guard lock(mutex_);
  EventStoreStatus status;
  status.quota_bytes = options_.quota_bytes;
  status.used_bytes = used_bytes();
  status.borrowed_bytes = borrowed_;
  status.segments = segments_.size();
  status.lost_events = lost_events_;
  status.shortened = shortened_;
  std::map<uint64_t, uint64_t> frozen;
  for (const auto& [id, list] : freezes_)
    for (const auto& one : list) frozen[one.sequence] = in_pages(one.disk_bytes);
  for (const auto& [sequence, cost] : frozen) status.frozen_bytes += cost;
  if (!segments_.empty()) status.oldest_ns = segments_.front().first_ns;
  return status;
}

}  // namespace lookback::observe
