#include "lookback/observe/event_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"
#include "lookback/observe/event_segment.hpp"
#include "lookback/observe/event_segment_format.hpp"

namespace lookback::observe {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kSuffix = ".events";
constexpr uint64_t kSegmentBytes = 4 << 20;
constexpr size_t kBufferBytes = 256 << 10;
constexpr int64_t kSegmentAgeNs = 300 * kNsPerSecond;
/// Segments of a freeze that is not read may take this part of the quota.
constexpr uint64_t kFreezeShare = 2;
constexpr uint64_t kMostOverQuota = 2;
constexpr int64_t kYoungSeconds = 60;

std::optional<uint64_t> sequence_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.ends_with(kSuffix)) return std::nullopt;
  uint64_t sequence = 0;
  const char* end = name.data() + name.size() - kSuffix.size();
  const auto [at, error] = std::from_chars(name.data(), end, sequence);
  return error == std::errc() && at == end ? std::optional(sequence) : std::nullopt;
}

std::string file_name(uint64_t sequence) {
  return fmt::format("{:08}{}", sequence, kSuffix);
}

/// What a file's header and times tell of it; nothing where it is no segment.
std::optional<FrozenSegment> look_at(const fs::path& path) {
  const auto sequence = sequence_of(path);
  struct stat info {};
  EventSegmentHeader header;
  const auto file = open_file(path, O_RDONLY);
  if (!sequence || !file || fstat(file->get(), &info) != 0 ||
      !pread_exact(file->get(), std::as_writable_bytes(std::span(&header, 1)), 0) ||
      !parse_event_segment(std::as_bytes(std::span(&header, 1))))
    return std::nullopt;
  // It was written to last when its last event came, within the pause between two flushes.
  const int64_t written = info.st_mtim.tv_sec * kNsPerSecond + info.st_mtim.tv_nsec;
  return FrozenSegment{*sequence, static_cast<uint64_t>(info.st_size), header.created_ns,
                       std::max(written, header.created_ns)};
}

std::vector<FrozenSegment> look_into(const fs::path& folder) {
  std::vector<FrozenSegment> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (const auto segment = look_at(entry.path())) found.push_back(*segment);
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
  return found;
}

}  // namespace

fs::path EventStore::path_of(uint64_t sequence) const {
  return options_.directory / file_name(sequence);
}
fs::path EventStore::freeze_folder(const std::string& id) const {
  return options_.directory / "freezes" / id;
}

Result<std::unique_ptr<EventStore>> EventStore::open(EventStoreOptions options) {
  if (options.quota_bytes < kMinEventQuotaBytes)
    return fail(ErrorKind::invalid, "the event storage must be at least {}",
                format_size(kMinEventQuotaBytes));
  TRY(make_directories(options.directory / "freezes"));
  TRY_ASSIGN(auto lock, FileLock::acquire(options.directory / "lock"));
  std::unique_ptr<EventStore> store(new EventStore(std::move(options), std::move(lock)));
  TRY(store->load());
  return store;
}

Result<> EventStore::load() {
  for (const auto& segment : look_into(options_.directory)) {
    segments_.push_back(
        {segment.sequence, segment.bytes, segment.first_ns, segment.last_ns, false});
    next_sequence_ = segment.sequence + 1;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(options_.directory / "freezes", error)) {
    auto& frozen = freezes_[entry.path().filename().string()];
    frozen = look_into(entry.path());
    for (const auto& one : frozen) {
      next_sequence_ = std::max(next_sequence_, one.sequence + 1);
      for (auto& segment : segments_)
        if (segment.sequence == one.sequence) segment.frozen = true;
    }
  }
  return {};
}

void EventStore::note_trouble(const Error& error, uint64_t events) {
  if (!troubled_) log_warning("events are lost: {}", error.message);
  troubled_ = true;
  const std::lock_guard lock(mutex_);
  lost_events_ += events;
}

void EventStore::begin_segment(
    int64_t now_ns, const std::function<void(const std::function<void(const Event&)>&)>& state) {
  flush();
  // What was so at its last event was so up to now.
  if (file_) futimens(file_.get(), nullptr);
  file_.reset();
  uint64_t sequence = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!segments_.empty() && was_open_)
      segments_.back().last_ns = std::max(segments_.back().first_ns, now_ns);
    was_open_ = false;
    sequence = next_sequence_++;
  }
  auto file = open_file(path_of(sequence), O_WRONLY | O_CREAT | O_EXCL | O_APPEND);
  if (!file) {
    note_trouble(file.error(), 0);
    return;
  }
  file_ = std::move(*file);
  was_open_ = true;
  {
    const std::lock_guard lock(mutex_);
    segments_.push_back({sequence, 0, now_ns, now_ns, false});
  }
  buffer_ = event_segment_header(sequence, now_ns);
  checkpoint_bytes_ = 0;
  state([this](const Event& event) { append(event); });
  flush();
  const std::lock_guard lock(mutex_);
  checkpoint_bytes_ = segments_.back().bytes;
}

void EventStore::append(const Event& event) {
  append_event_record(event, buffer_);
  ++buffered_events_;
  if (buffer_.size() >= kBufferBytes) flush();
}

void EventStore::flush() {
  if (buffer_.empty()) return;
  const uint64_t events = std::exchange(buffered_events_, 0);
  const std::string data = std::exchange(buffer_, {});
  buffer_.reserve(kBufferBytes);
  if (!file_) {
    note_trouble({ErrorKind::failed, "there is no open segment"}, events);
    return;
  }
  if (auto written = write_all(file_.get(), as_bytes(data)); !written) {
    // A record that is cut off costs a reader nothing but itself.
    note_trouble(written.error(), events);
    return;
  }
  troubled_ = false;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const std::lock_guard lock(mutex_);
  segments_.back().bytes += data.size();
  segments_.back().last_ns =
      std::max(segments_.back().first_ns, now.tv_sec * kNsPerSecond + now.tv_nsec);
}

bool EventStore::wants_segment(int64_t now_ns) const {
  if (!file_) return true;
  const std::lock_guard lock(mutex_);
  const Segment& open = segments_.back();
  // A clock that was set back makes a segment look young: it is ended by its length then.
  return open.bytes - std::min(open.bytes, checkpoint_bytes_) >= kSegmentBytes ||
         now_ns - open.first_ns >= kSegmentAgeNs;
}

void EventStore::recycle(std::optional<int64_t> oldest_packet_ns) {
  const std::lock_guard lock(mutex_);
  const auto live_bytes = [&] {
    uint64_t bytes = 0;
    for (const auto& segment : segments_) bytes += segment.bytes;
    return bytes;
  };
  bool shortened = false;
  for (uint64_t bytes = live_bytes(); bytes > options_.quota_bytes && segments_.size() > 1;
       bytes = live_bytes()) {
    const Segment& oldest = segments_.front();
    const bool needed = oldest_packet_ns && oldest.last_ns >= *oldest_packet_ns;
    if (needed && bytes <= kMostOverQuota * options_.quota_bytes) break;
    shortened = shortened || needed;
    std::error_code error;
    if (!fs::remove(path_of(oldest.sequence), error) && error)
      log_warning("{} cannot be removed: {}", path_of(oldest.sequence).string(), error.message());
    segments_.erase(segments_.begin());
  }
  if (shortened && !shortened_)
    log_warning("events do not reach as far back as packets: --event-storage-size is too small");
  shortened_ = shortened_ || shortened;
}

EventStoreStatus EventStore::status() const {
  const std::lock_guard lock(mutex_);
  EventStoreStatus status;
  status.quota_bytes = options_.quota_bytes;
  status.segments = segments_.size();
  status.lost_events = lost_events_;
  status.shortened = shortened_;
  for (const auto& segment : segments_) status.used_bytes += segment.bytes;
  std::map<uint64_t, uint64_t> frozen;
  for (const auto& [id, list] : freezes_)
    for (const auto& one : list) frozen[one.sequence] = one.bytes;
  for (const auto& [sequence, bytes] : frozen) {
    status.frozen_bytes += bytes;
    if (std::none_of(segments_.begin(), segments_.end(),
                     [wanted = sequence](const auto& s) { return s.sequence == wanted; }))
      status.used_bytes += bytes;
  }
  if (!segments_.empty()) status.oldest_ns = segments_.front().first_ns;
  return status;
}

Result<> EventStore::freeze(const std::string& id, TimeWindow window) {
  TRY(check_snapshot_name(id));
  const std::lock_guard lock(mutex_);
  if (freezes_.count(id) != 0) return {};
  const fs::path folder = freeze_folder(id),
                 unfinished = options_.directory / "freezes" / ("." + id);
  std::error_code error;
  fs::remove_all(unfinished, error);
  TRY(make_directories(unfinished));
  std::vector<FrozenSegment> frozen;
  for (auto& segment : segments_) {
    if (&segment == &segments_.back() || segment.first_ns >= window.to_ns ||
        segment.last_ns < window.from_ns)
      continue;
    fs::create_hard_link(path_of(segment.sequence), unfinished / file_name(segment.sequence),
                         error);
    if (error)
      return fail(ErrorKind::failed, "{} cannot be linked: {}", path_of(segment.sequence).string(),
                  error.message());
    segment.frozen = true;
    frozen.push_back({segment.sequence, segment.bytes, segment.first_ns, segment.last_ns});
  }
  fs::rename(unfinished, folder, error);
  if (error)
    return fail(ErrorKind::failed, "{} cannot be made: {}", folder.string(), error.message());
  freezes_[id] = std::move(frozen);
  limit_freezes();
  return {};
}

/// With mutex_. Segments that only freezes still hold: beyond the share of the quota the oldest are
/// given up.
void EventStore::limit_freezes() {
  for (;;) {
    std::map<uint64_t, uint64_t> alone;
    for (const auto& [id, list] : freezes_)
      for (const auto& one : list)
        if (std::none_of(segments_.begin(), segments_.end(),
                         [&](const auto& s) { return s.sequence == one.sequence; }))
          alone[one.sequence] = one.bytes;
    uint64_t bytes = 0;
    for (const auto& [sequence, length] : alone) bytes += length;
    if (bytes <= options_.quota_bytes / kFreezeShare || alone.empty()) return;
    const uint64_t oldest = alone.begin()->first;
    log_warning("events of an old freeze are given up: segment {}", oldest);
    for (auto& [id, list] : freezes_) {
      std::error_code error;
      fs::remove(freeze_folder(id) / file_name(oldest), error);
      std::erase_if(list, [&](const auto& one) { return one.sequence == oldest; });
    }
  }
}

std::vector<FrozenSegment> EventStore::frozen(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = freezes_.find(id);
  return found == freezes_.end() ? std::vector<FrozenSegment>{} : found->second;
}

Result<std::string> EventStore::read(const std::string& id, uint64_t sequence) const {
  TRY(check_snapshot_name(id));
  return read_file(freeze_folder(id) / file_name(sequence));
}

Result<> EventStore::release(const std::string& id) {
  TRY(check_snapshot_name(id));
  const std::lock_guard lock(mutex_);
  freezes_.erase(id);
  std::error_code error;
  fs::remove_all(freeze_folder(id), error);
  if (error)
    return fail(ErrorKind::failed, "{} cannot be removed: {}", freeze_folder(id).string(),
                error.message());
  return {};
}

void EventStore::keep_freezes(const std::function<bool(const std::string&)>& is_kept) {
  std::vector<std::string> ended;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, list] : freezes_) {
      // One that is just being made is not known elsewhere yet.
      struct stat info {};
      const bool young = stat(freeze_folder(id).c_str(), &info) == 0 &&
                         time(nullptr) - info.st_mtim.tv_sec < kYoungSeconds;
      if (!young && !is_kept(id)) ended.push_back(id);
    }
  }
  for (const auto& id : ended)
    if (auto released = release(id); !released) log_warning("{}", released.error().message);
}

}  // namespace lookback::observe
