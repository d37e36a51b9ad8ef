#include "library.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <set>

#include "json_text.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"

namespace lookback::hub {

namespace {

constexpr uint64_t kMaxHead = 64ULL << 20;

struct FileMark {
  uint64_t size = 0, inode = 0;
  int64_t mtime_ns = 0;
};

Result<FileMark> mark_of(const std::filesystem::path& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return fail_errno(errno, path.string());
  if (!S_ISREG(st.st_mode)) return fail(ErrorKind::corrupt, "{} is not a regular file", path.string());
  return FileMark{static_cast<uint64_t>(st.st_size), st.st_ino,
                  st.st_mtim.tv_sec * kNsPerSecond + st.st_mtim.tv_nsec};
}

/// What an earlier look wrote, as long as the archive is still the same file.
Result<archive::Snapshot> read_head(const std::filesystem::path& path, const FileMark& mark) {
  TRY_ASSIGN(const std::string text, read_file(path, kMaxHead));
  TRY_ASSIGN(Json head, parse_json(text, path.string()));
  TRY_ASSIGN(const uint64_t size, json_get<uint64_t>(head, "size"));
  TRY_ASSIGN(const uint64_t inode, json_get<uint64_t>(head, "inode"));
  TRY_ASSIGN(const int64_t mtime, json_get<int64_t>(head, "mtime_ns"));
  const auto object = head.find("brief");
  if (size != mark.size || inode != mark.inode || mtime != mark.mtime_ns || object == head.end() ||
      !object->is_object())
    return fail(ErrorKind::corrupt, "it is of another file");
  return archive::snapshot_from_json(*object);
}

archive::Snapshot damaged_snapshot(const Library::Entry& entry) {
  archive::Snapshot snapshot;
  snapshot.name = entry.name;
  snapshot.state = archive::SnapshotState::failed;
  snapshot.reason = entry.reason;
  snapshot.created_ns = snapshot.finished_ns = entry.finished_ns;
  snapshot.size_bytes = entry.size_bytes;
  return snapshot;
}

}  // namespace

/// The brief of an intact archive, from its head or else from its manifest.
Result<archive::Snapshot> Library::look(const std::string& name, int64_t finished_ns, bool use_head) const {
  const auto path = paths_.archive(name);
  TRY_ASSIGN(const FileMark mark, mark_of(path));
  if (use_head) {
    if (auto snapshot = read_head(paths_.head(name), mark)) return snapshot;
  }
  TRY_ASSIGN(auto source, archive::open_file_source(path, archive::Links::refuse));
  TRY_ASSIGN(const auto reader, archive::ArchiveReader::open(std::move(source)));
  archive::Snapshot brief = archive::snapshot_of(reader->manifest(), archive::NodeDetail::brief);
  brief.name = name;
  brief.size_bytes = mark.size;
  brief.finished_ns = finished_ns == 0 ? mark.mtime_ns : finished_ns;
  const Json head = {{"size", mark.size},
                     {"inode", mark.inode},
                     {"mtime_ns", mark.mtime_ns},
                     {"brief", archive::snapshot_to_json(brief, archive::NodeDetail::brief)}};
  // Only a cache: without it the next start reads the manifest again.
  if (const auto saved = write_file_atomically(paths_.head(name), to_text(head)); !saved)
    log_warning("{}", saved.error().message);
  return brief;
}

std::shared_ptr<const Library::Entry> Library::load(const std::string& name, int64_t finished_ns,
                                                    bool use_head) const {
  auto entry = std::make_shared<Entry>();
  entry->name = name;
  if (const auto mark = mark_of(paths_.archive(name))) {
    entry->size_bytes = mark->size;
    entry->finished_ns = mark->mtime_ns;
  }
  const auto snapshot = look(name, finished_ns, use_head);
  if (!snapshot) {
    log_warning("snapshot {} is damaged: {}", name, snapshot.error().message);
    entry->damaged = true;
    entry->reason = snapshot.error().message;
    return entry;
  }
  entry->id = snapshot->id;
  entry->complete = snapshot->complete;
  if (snapshot->finished_ns != 0) entry->finished_ns = snapshot->finished_ns;
  return entry;
}

Result<archive::Snapshot> Library::brief(const std::string& name) {
  const auto entry = find(name);
  if (!entry) return fail(ErrorKind::not_found, "there is no snapshot {}", name);
  if (entry->damaged) return damaged_snapshot(*entry);
  return look(name, entry->finished_ns, true);
}

Result<archive::Snapshot> Library::full(const std::string& name) {
  const auto entry = find(name);
  if (!entry) return fail(ErrorKind::not_found, "there is no snapshot {}", name);
  if (entry->damaged) return damaged_snapshot(*entry);
  TRY_ASSIGN(const auto reader, open(name));
  archive::Snapshot snapshot = archive::snapshot_of(reader->manifest(), archive::NodeDetail::full);
  snapshot.name = name;
  snapshot.size_bytes = entry->size_bytes;
  snapshot.finished_ns = entry->finished_ns;
  return snapshot;
}

void Library::put(std::shared_ptr<const Entry> entry) {
  const std::lock_guard lock(mutex_);
  auto& slot = entries_[entry->name];
  if (slot) total_bytes_ -= slot->size_bytes;
  total_bytes_ += entry->size_bytes;
  readers_.erase(entry->name);
  slot = std::move(entry);
}

void Library::scan() {
  std::set<std::string> found;
  std::error_code ec;
  for (auto it = std::filesystem::directory_iterator(paths_.snapshots(), ec);
       !ec && it != std::filesystem::directory_iterator(); it.increment(ec)) {
    const std::string file = it->path().filename().string();
    if (!file.ends_with(kArchiveSuffix)) continue;
    const std::string name = file.substr(0, file.size() - kArchiveSuffix.size());
    if (!check_snapshot_name(name)) {
      log_warning("{} is not listed: '{}' is not the name of a snapshot", it->path().string(), name);
      continue;
    }
    found.insert(name);
  }
  if (ec) log_warning("cannot list {}: {}", paths_.snapshots().string(), ec.message());
  for (const std::string& name : found) {
    if (!contains(name)) put(load(name, 0, true));
  }
}

void Library::add(const std::string& name, int64_t finished_ns) {
  put(load(name, finished_ns, false));
}

Result<> Library::remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(name);
  if (it == entries_.end()) return fail(ErrorKind::not_found, "there is no snapshot {}", name);
  std::error_code ec;
  std::filesystem::remove(paths_.archive(name), ec);
  if (ec)
    return fail(ErrorKind::failed, "cannot delete {}: {}", paths_.archive(name).string(),
                ec.message());
  std::filesystem::remove(paths_.head(name), ec);
  total_bytes_ -= it->second->size_bytes;
  entries_.erase(it);
  readers_.erase(name);
  return sync_directory(paths_.snapshots());
}

bool Library::contains(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains(name);
}

std::optional<Library::Entry> Library::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(name);
  if (it == entries_.end()) return std::nullopt;
  return *it->second;
}

std::vector<std::shared_ptr<const Library::Entry>> Library::entries() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const Entry>> list;
  list.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) list.push_back(entry);
  return list;
}

uint64_t Library::total_bytes() const {
  const std::lock_guard lock(mutex_);
  return total_bytes_;
}

Result<std::shared_ptr<const archive::ByteSource>> Library::source(const std::string& name) const {
  if (!contains(name)) return fail(ErrorKind::not_found, "there is no snapshot {}", name);
  return archive::open_file_source(paths_.archive(name), archive::Links::refuse);
}

Result<std::shared_ptr<archive::ArchiveReader>> Library::open(const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    if (!entries_.contains(name))
      return fail(ErrorKind::not_found, "there is no snapshot {}", name);
    if (auto reader = readers_[name].lock()) return reader;
  }
  TRY_ASSIGN(auto bytes, source(name));
  TRY_ASSIGN(auto reader, archive::ArchiveReader::open(std::move(bytes)));
  const std::lock_guard lock(mutex_);
  if (entries_.contains(name)) readers_[name] = reader;
  return reader;
}

}  // namespace lookback::hub
