#include "member_store.hpp"

#include <fcntl.h>

#include <algorithm>

#include "lookback/archive/member_kind.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"

namespace lookback::hub {

namespace {

constexpr uint64_t kSyncBytes = 64ULL << 20, kMostVolatile = 256ULL << 20;
/// tar header, padding and their frames
constexpr uint64_t kMemberOverhead = 4 << 10;
/// What a manifest may hold of members, next to the archive's own size: a node that sends little
/// content and long lists cannot make an archive whose manifest its readers refuse.
constexpr uint64_t kManifestRoom = 32ULL << 20, kMostManifest = 768ULL << 20;

bool is_lost(const Error& error) {
  return error.kind == ErrorKind::corrupt || error.kind == ErrorKind::not_found ||
         error.kind == ErrorKind::invalid;
}

/// Whether the archive holds the very content that the journal names: a machine that went down may
/// have kept the line and not the bytes.
bool holds(int fd, const archive::MemberEntry& entry, archive::MemberChecker& checker) {
  archive::MemberContent member;
  member.frames = entry.frames;
  member.size = entry.size;
  member.sha256 = entry.sha256;
  member.packets = entry.packets;
  uint64_t bytes = 0;
  for (const archive::FrameEntry& frame : entry.frames) {
    bytes += frame.compressed_bytes;
    if (bytes > kMostVolatile) return false;
  }
  member.compressed.resize(bytes);
  return pread_exact(fd, member.compressed, entry.archive_offset) && checker.check(member);
}

/// How many of the journal's lines can be relied on.
size_t count_good(const std::filesystem::path& partial, const std::vector<JournalLine>& lines,
                  size_t durable) {
  const auto fd = open_file(partial, O_RDONLY);
  if (!fd) return lines.size();  // whoever opens it next says what is wrong
  archive::MemberChecker checker;
  for (size_t i = durable; i < lines.size(); ++i) {
    if (lines[i].member && !holds(fd->get(), *lines[i].member, checker)) return i;
  }
  return lines.size();
}

}  // namespace

MemberStore::MemberStore(archive::ArchiveWriter writer, Journal journal, Fd sync_fd,
                         DiskBudget& budget, std::string budget_id)
    : writer_(std::move(writer)),
      journal_(std::move(journal)),
      sync_fd_(std::move(sync_fd)),
      budget_(budget),
      budget_id_(std::move(budget_id)) {}

Result<std::string> MemberStore::member_name(const NodeRecord& node, uint32_t index,
                                             const archive::MemberContent& member) {
  const std::string& name = node.entry.name;
  const auto it = std::find_if(node.members.begin(), node.members.end(),
                               [&](const FrozenMember& one) { return one.index == index; });
  const archive::MemberKind kind = it == node.members.end() ? archive::MemberKind::packets : it->kind;
  if (archive::info_of(kind).has_packets) return archive::member_path(kind, name, index);
  if (member.packets != 0) return fail(ErrorKind::corrupt, "a member of kind {} that is said to have packets", archive::info_of(kind).name);
  const auto before = std::count_if(node.members.begin(), it, [&](const FrozenMember& one) { return one.kind == kind; });
  return archive::member_path(kind, name, static_cast<uint64_t>(before));
}

Result<std::unique_ptr<MemberStore>> MemberStore::open(const std::filesystem::path& folder,
                                                       int64_t mtime_ns, DiskBudget& budget,
                                                       std::string budget_id,
                                                       std::vector<JournalLine>& restored) {
  const auto partial = folder / "archive.partial";
  TRY_ASSIGN(Journal journal, Journal::open(folder / "journal.ndjson", restored));
  if (const size_t good = count_good(partial, restored, journal.durable());
      good < restored.size()) {
    log_warning("{} lacks the end of what its journal names: {} members are fetched again",
                partial.string(), restored.size() - good);
    restored.resize(good);
    TRY(journal.rewrite(restored));
  }
  std::vector<archive::MemberEntry> members;
  uint64_t manifest_bytes = 0;
  for (const JournalLine& line : restored) {
    if (!line.member) continue;
    members.push_back(*line.member);
    manifest_bytes += archive::member_to_json(*line.member).size();
  }
  auto writer = archive::ArchiveWriter::resume(partial, mtime_ns, std::move(members));
  if (!writer && is_lost(writer.error())) {
    log_warning("{}; the snapshot is fetched from its start", writer.error().message);
    restored.clear();
    manifest_bytes = 0;
    TRY(journal.rewrite({}));
    writer = archive::ArchiveWriter::create(partial, mtime_ns);
  }
  if (!writer) return tl::make_unexpected(writer.error());
  TRY(writer->sync());
  TRY_ASSIGN(Fd sync_fd, open_file(partial, O_RDWR));
  std::unique_ptr<MemberStore> store(new MemberStore(
      std::move(*writer), std::move(journal), std::move(sync_fd), budget, std::move(budget_id)));
  store->manifest_bytes_ = manifest_bytes;
  store->lines_ = restored.size();
  TRY(store->sync());
  return store;
}

Result<> MemberStore::append(const NodeRecord& node, uint32_t index,
                             const archive::MemberContent& member) {
  JournalLine line{node.entry.name, index, MemberOutcome::stored, {}, std::nullopt};
  TRY_ASSIGN(const std::string name, member_name(node, index, member));
  std::unique_lock lock(mutex_);
  synced_.wait(lock, [&] { return abandoned_ || volatile_bytes_ < kMostVolatile; });
  if (abandoned_) return tl::make_unexpected(*abandoned_);
  TRY(budget_.grow(budget_id_, member.compressed.size() + kMemberOverhead));
  uint64_t entry_bytes = 512;
  for (const archive::FrameEntry& frame : member.frames) entry_bytes += frame.summary.size() + 64;
  if (manifest_bytes_ + entry_bytes >
      std::min(kMostManifest, kManifestRoom + 2 * writer_.bytes_written()))
    return fail(ErrorKind::corrupt, "its lists of frames are too long for the manifest");
  auto entry = writer_.append(name, node.entry.name, member);
  if (!entry) {
    Error error = entry.error();
    if (error.kind == ErrorKind::invalid) error.kind = ErrorKind::corrupt;
    return tl::make_unexpected(std::move(error));
  }
  manifest_bytes_ += entry_bytes;
  line.member = std::move(*entry);
  TRY(writer_.flush());
  TRY(journal_.append(line));
  ++lines_;
  volatile_bytes_ += member.compressed.size();
  if (volatile_bytes_ >= kSyncBytes) work_.notify_one();
  return {};
}

Result<> MemberStore::note(const JournalLine& line) {
  const std::lock_guard lock(mutex_);
  TRY(journal_.append(line));
  ++lines_;
  return {};
}

void MemberStore::wait_for_work(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  work_.wait_for(lock, time, [&] { return woken_ || volatile_bytes_ >= kSyncBytes; });
  woken_ = false;
}

void MemberStore::wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  work_.notify_one();
}

Result<> MemberStore::sync() {
  size_t lines = 0;
  uint64_t bytes = 0;
  {
    const std::lock_guard lock(mutex_);
    if (lines_ == durable_lines_) return {};
    lines = lines_;
    bytes = volatile_bytes_;
  }
  TRY(sync_data(sync_fd_.get()));
  {
    const std::lock_guard lock(mutex_);
    TRY(journal_.mark_durable(lines));
    durable_lines_ = lines;
    volatile_bytes_ -= bytes;
  }
  TRY(journal_.sync());
  synced_.notify_all();
  return {};
}

void MemberStore::abandon(const Error& error) {
  const std::lock_guard lock(mutex_);
  if (!abandoned_) abandoned_ = error;
  synced_.notify_all();
}

Result<uint64_t> MemberStore::commit(archive::Manifest manifest,
                                     const std::filesystem::path& final_path) {
  const std::lock_guard lock(mutex_);
  return writer_.commit(std::move(manifest), final_path);
}

uint64_t MemberStore::bytes_written() const {
  const std::lock_guard lock(mutex_);
  return writer_.bytes_written();
}

}  // namespace lookback::hub
