#include "lookback/observe/event_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"
#include "lookback/observe/event_segment.hpp"
#include "lookback/observe/event_segment_format.hpp"
#include "observe/event_files.hpp"

namespace lookback::observe {
namespace fs = std::filesystem;
namespace {

constexpr size_t kBufferBytes = 256 << 10;
constexpr int64_t kSegmentAgeNs = 300 * kNsPerSecond;
constexpr int64_t kYoungSeconds = 60;

std::optional<uint64_t> sequence_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.ends_with(kEventFileSuffix)) return std::nullopt;
  uint64_t sequence = 0;
  const char* end = name.data() + name.size() - kEventFileSuffix.size();
  const auto [at, error] = std::from_chars(name.data(), end, sequence);
  return error == std::errc() && at == end ? std::optional(sequence) : std::nullopt;
}

struct FoundSegment {
  FrozenSegment segment;
  bool packed = false;
};

/// What a file's front and times tell of it; nothing where it is not a segment.
std::optional<FoundSegment> look_at(const fs::path& path) {
  const auto sequence = sequence_of(path);
  struct stat info {};
  const auto file = open_file(path, O_RDONLY);
  if (!sequence || !file || fstat(file->get(), &info) != 0) return std::nullopt;
  std::array<std::byte, kEventSegmentFrontBytes> bytes{};
  const auto length = static_cast<uint64_t>(info.st_size);
  const auto part = std::span(bytes).first(std::min<uint64_t>(bytes.size(), length));
  if (!pread_exact(file->get(), part, 0)) return std::nullopt;
  const auto front = read_event_segment_front(part, length);
  if (!front) return std::nullopt;
  // It was written to last when its last event came, within the pause between two flushes.
  const int64_t written = info.st_mtim.tv_sec * kNsPerSecond + info.st_mtim.tv_nsec;
  return FoundSegment{{*sequence, front->content_bytes, length, front->created_ns,
                       std::max(written, front->created_ns)},
                      front->packed};
}

std::vector<FoundSegment> look_into(const fs::path& folder) {
  std::vector<FoundSegment> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (const auto segment = look_at(entry.path())) found.push_back(*segment);
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.segment.sequence < b.segment.sequence; });
  return found;
}

/// What was being made when the process was killed.
void remove_unfinished(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> unfinished;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().starts_with('.')) unfinished.push_back(entry.path());
  for (const auto& path : unfinished)
    if (fs::remove_all(path, error); error)
      log_warning("{} cannot be removed: {}", path.string(), error.message());
}

}  // namespace

fs::path EventStore::path_of(uint64_t sequence) const {
  return options_.directory / event_file_name(sequence);
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
  store->recycle();
  return store;
}

Result<> EventStore::load() {
  const fs::path freezes = options_.directory / "freezes";
  remove_unfinished(options_.directory);
  remove_unfinished(freezes);
  for (const auto& [segment, packed] : look_into(options_.directory)) {
    segments_.push_back({segment.sequence, segment.bytes, segment.disk_bytes, segment.first_ns,
                         segment.last_ns, packed});
    next_sequence_ = segment.sequence + 1;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(freezes, error)) {
    auto& frozen = freezes_[entry.path().filename().string()];
    for (const auto& [segment, packed] : look_into(entry.path())) {
      frozen.push_back(segment);
      next_sequence_ = std::max(next_sequence_, segment.sequence + 1);
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
    segments_.push_back({sequence, 0, 0, now_ns, now_ns, false});
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
  if (!make_room(data.size(), Purpose::write)) {
    note_trouble(
        {ErrorKind::no_space, "the event storage is used up by the events that are needed"},
        events);
    return;
  }
  if (auto written = write_all(file_.get(), as_bytes(data)); !written) {
    // A record that is cut off costs a reader nothing but itself.
    note_trouble(written.error(), events);
    struct stat info {};
    if (fstat(file_.get(), &info) != 0) return;
    const std::lock_guard lock(mutex_);
    segments_.back().bytes = segments_.back().disk_bytes = static_cast<uint64_t>(info.st_size);
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
  return open.bytes - std::min(open.bytes, checkpoint_bytes_) >= kEventSegmentBytes ||
         now_ns - open.first_ns >= kSegmentAgeNs;
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
  for (const auto& segment : segments_) {
    if (&segment == &segments_.back() || !window.overlaps(segment.first_ns, segment.last_ns))
      continue;
    fs::create_hard_link(path_of(segment.sequence), unfinished / event_file_name(segment.sequence),
                         error);
    if (error)
      return fail(ErrorKind::failed, "{} cannot be linked: {}", path_of(segment.sequence).string(),
                  error.message());
    frozen.push_back(
        {segment.sequence, segment.bytes, segment.disk_bytes, segment.first_ns, segment.last_ns});
  }
  fs::rename(unfinished, folder, error);
  if (error)
    return fail(ErrorKind::failed, "{} cannot be made: {}", folder.string(), error.message());
  freezes_[id] = std::move(frozen);
  return {};
}

std::vector<FrozenSegment> EventStore::frozen(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = freezes_.find(id);
  return found == freezes_.end() ? std::vector<FrozenSegment>{} : found->second;
}

Result<std::string> EventStore::read(const std::string& id, uint64_t sequence) const {
  TRY(check_snapshot_name(id));
  TRY_ASSIGN(std::string bytes,
             read_file(freeze_folder(id) / event_file_name(sequence), kMostEventSegmentBytes));
  auto plain = unpack_event_segment(std::move(bytes));
  if (!plain)
    return tl::make_unexpected(plain.error().in(fmt::format("event segment {}", sequence)));
  return plain;
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
