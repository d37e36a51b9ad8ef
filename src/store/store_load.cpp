// Opening a store: what is on disk becomes the catalog.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "lookback/store/file_names.hpp"
#include "store/disk_usage.hpp"
#include "store/freeze_record.hpp"
#include "store/store_impl.hpp"

namespace lookback::store {

namespace fs = std::filesystem;

namespace {

/// The last block of a segment that nobody sealed may be torn: said now, so that it is known before
/// anybody reads.
void judge_last_block(BlockWindow& file, const SegmentContents& contents, Segment& segment) {
  if (contents.blocks.empty()) return;
  const IndexEntry& last = contents.blocks.back();
  const auto block =
      load_block(file, contents.header.epoch, uint64_t{last.page} * kPageBytes, contents.end);
  if (!block || !*block || !(*block)->torn) return;
  segment.damaged = true;
  const TimeWindow bounds = block_bounds(last);
  segment.add_gap(
      {bounds.from_ns, bounds.to_ns, last.packets, to_string(GapReason::damaged_segment)});
}

/// Up to where everything is there in front of a segment of its run: nothing is known of blocks
/// that were lost before its first one.
int64_t complete_before(const Segment* previous, const SegmentHeader& header) {
  const bool same_run = previous != nullptr && previous->run_id == header.run_id &&
                        previous->sequence + 1 == header.sequence;
  return same_run && previous->complete_ns
             ? std::min(*previous->complete_ns, header.opened_ns)
             : earlier_by_slack(std::min(header.run_started_ns, header.opened_ns));
}

/// Fills in what the file says; `previous` is the segment in front of it. An error: it says nothing.
Result<> read_into(const fs::path& path, const Segment* previous, Segment& segment) {
  segment.disk_bytes = cost_of(path);
  TRY_ASSIGN(BlockWindow file, BlockWindow::open(path, 0));
  TRY_ASSIGN(const SegmentContents contents, read_segment(file));
  if (contents.header.sequence != segment.sequence)
    return fail(ErrorKind::corrupt, "its header says that it is segment {}",
                contents.header.sequence);
  segment.epoch = contents.header.epoch;
  segment.run_id = contents.header.run_id;
  segment.run_started_ns = contents.header.run_started_ns;
  segment.opened_ns = segment.ended_ns = contents.header.opened_ns;
  segment.indexed = contents.sealed;
  segment.damaged = !contents.damage.empty();
  const int64_t before_ns = complete_before(previous, contents.header);
  for (Gap gap : contents.damage) {
    if (gap.start_ns == kStartNotKnown) gap.start_ns = std::min(before_ns, gap.end_ns);
    segment.add_gap(gap);
  }
  for (const IndexEntry& entry : contents.blocks) {
    segment.add_block(entry);
    segment.ended_ns = std::max(segment.ended_ns, entry.last_ns);
    if (entry.kind != static_cast<uint16_t>(BlockKind::note)) continue;
    const auto note = load_note(file, segment.epoch, uint64_t{entry.page} * kPageBytes);
    if (!note) {
      // What it told of came before it, and after the last block or a little earlier.
      segment.damaged = true;
      const int64_t start_ns = segment.complete_ns.value_or(before_ns);
      segment.add_gap({std::min(start_ns, entry.first_ns), saturating_add(entry.last_ns, 1), 0,
                       to_string(GapReason::damaged_segment)});
      segment.table_pages.push_back(entry.page);
      continue;
    }
    for (const Gap& gap : note->gaps) segment.add_gap(gap);
    segment.add_clock(note->clock);
    if (note->complete_ns) {
      segment.complete_ns = note->complete_ns;
      segment.kept = true;
    }
    if (note->interfaces) segment.table_pages.push_back(entry.page);
  }
  // A lost block may have been a table.
  segment.table_pages.insert(segment.table_pages.end(), contents.lost_pages.begin(), contents.lost_pages.end());
  std::sort(segment.table_pages.begin(), segment.table_pages.end());
  if (contents.sealed) {
    segment.ended_ns = contents.sealed_ns;
    return {};
  }
  judge_last_block(file, contents, segment);
  // What was allocated ahead and never written goes back.
  TRY_ASSIGN(const uint64_t length, file_size(file.fd()));
  if (length > contents.end && ::truncate(path.c_str(), static_cast<off_t>(contents.end)) != 0)
    return fail_errno(errno, "cannot cut it to its length");
  segment.disk_bytes = cost_of(path);
  return {};
}

}  // namespace

Result<> StoreImpl::load() {
  TRY(make_directories(packets_path_, 0700));
  TRY(make_directories(freezes_path_, 0700));
  TRY(remove_leftovers());
  TRY(load_freezes());
  TRY(load_segments());
  refresh_small_files_locked();
  {
    const std::lock_guard lock(state_);
    reserved_ = std::min(options_.reserved_bytes, most_reserved_bytes());
  }
  TRY(check_disk());
  expire_locked();
  // A quota lower than last time.
  TRY(make_room_locked(0));
  probe_direct_io();
  return {};
}

/// A disk that can never hold the quota, or has no room for a new storage, is refused. One that others filled since is not: what is
/// there is kept, and recording goes on as there is room.
Result<> StoreImpl::check_disk() const {
  TRY_ASSIGN(const DiskSpace space, disk_space(options_.directory));
  uint64_t used;
  bool begun;
  {
    const std::lock_guard lock(state_);
    used = used_bytes_state_locked();
    begun = !catalog_.segments.empty() || !freezes_.empty();
  }
  const uint64_t possible = space.available_bytes + used;
  if (possible >= options_.quota_bytes) return {};
  const std::string lack =
      fmt::format("the disk of {} cannot hold a storage of {}: {} are missing; free them or lower --storage-size to {} at most", options_.directory.string(),
                  format_size(options_.quota_bytes), format_size(options_.quota_bytes - possible), format_size(possible));
  if (!begun || space.total_bytes < options_.quota_bytes) return fail(ErrorKind::no_space, "{}", lack);
  log_warning("{}. Recording goes on; packets that find no room are lost, and snapshots show a gap", lack);
  return {};
}

Result<> StoreImpl::remove_leftovers() const {
  std::error_code ec;
  for (const fs::path& directory : {packets_path_, freezes_path_}) {
    for (const auto& item : fs::directory_iterator(directory, ec)) {
      if (item.path().filename().string().starts_with('.')) fs::remove_all(item.path(), ec);
    }
    if (ec)
      return fail(ErrorKind::failed, "cannot clean up {}: {}", directory.string(), ec.message());
  }
  return {};
}

void StoreImpl::probe_direct_io() {
  if (!options_.use_direct_io) {
    direct_ = false;
    return;
  }
  const fs::path path = packets_path_ / file_names::kPrepared;
  const auto works = [&]() -> Result<> {
    TRY_ASSIGN(const Fd fd, open_file(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0600));
    AlignedBuffer page(kPageBytes);
    std::memset(page.data(), 0, kPageBytes);
    return pwrite_all(fd.get(), page.span(kPageBytes), 0);
  }();
  ::unlink(path.c_str());
  // A full disk is another matter, and said when it matters.
  direct_ = works || works.error().kind == ErrorKind::no_space;
  if (!direct_)
    log_info("{} has no direct I/O ({}): segments are written through the page cache",
             packets_path_.string(), works.error().message);
}

Result<> StoreImpl::load_segments() {
  std::error_code ec;
  std::vector<uint64_t> sequences;
  for (auto it = fs::directory_iterator(packets_path_, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    if (const auto sequence = file_names::segment_sequence(it->path().filename().string()))
      sequences.push_back(*sequence);
  }
  if (ec)
    return fail(ErrorKind::failed, "cannot list {}: {}", packets_path_.string(), ec.message());
  std::sort(sequences.begin(), sequences.end());
  const std::lock_guard lock(state_);
  Segment* previous = nullptr;
  for (const uint64_t sequence : sequences) {
    Segment segment;
    segment.sequence = sequence;
    segment.sealed = true;
    if (const auto read = read_into(segment_path(sequence), previous, segment); !read) {
      log_warning("segment {} cannot be read and is left out: {}", sequence, read.error().message);
      const uint64_t cost = segment.disk_bytes;
      segment = Segment{};
      segment.sequence = sequence;
      segment.disk_bytes = cost;
      segment.sealed = segment.damaged = true;
      segment.readable = false;
    } else if (sequence == sequences.back() && segment.empty()) {
      // Begun and never written to; its number is used again.
      ::unlink(segment_path(sequence).c_str());
      continue;
    }
    // A run goes on behind a segment that it sealed: without an index, the last blocks may be lost.
    if (previous != nullptr && segment.readable && !previous->indexed &&
        previous->run_id == segment.run_id && previous->sequence + 1 == sequence) {
      const int64_t end_ns = segment.nothing_lost_from_ns();
      previous->damaged = true;
      previous->add_gap({std::min(previous->complete_ns.value_or(previous->run_started_ns), end_ns),
                         saturating_add(end_ns, 1), 0, to_string(GapReason::damaged_segment)});
    }
    const auto at = catalog_.segments.emplace(sequence, std::move(segment)).first;
    if (at->second.readable) previous = &at->second;
  }
  for (auto& [id, entry] : freezes_) {
    for (const uint64_t sequence : entry.sequences) {
      if (const auto it = catalog_.segments.find(sequence); it != catalog_.segments.end())
        ++it->second.freezes;
    }
  }
  return {};
}

Result<> StoreImpl::load_freezes() {
  std::error_code ec;
  std::vector<fs::path> directories;
  for (auto it = fs::directory_iterator(freezes_path_, ec); !ec && it != fs::directory_iterator();
       it.increment(ec))
    directories.push_back(it->path());
  if (ec)
    return fail(ErrorKind::failed, "cannot list {}: {}", freezes_path_.string(), ec.message());
  for (const fs::path& directory : directories) {
    const auto read = [&]() -> Result<Freeze> {
      TRY_ASSIGN(const std::string text,
                 lookback::read_file(directory / file_names::kFreezeRecord, 1ULL << 30));
      TRY_ASSIGN(Freeze freeze, freeze_from_json(text));
      if (freeze.id != directory.filename().string())
        return fail(ErrorKind::corrupt, "it names itself '{}'", freeze.id);
      return freeze;
    }();
    if (!read) {
      log_warning("freeze {} is dropped: {}", directory.filename().string(), read.error().message);
      fs::remove_all(directory, ec);
      continue;
    }
    adopt_freeze(directory, *read);
  }
  return {};
}

void StoreImpl::adopt_freeze(const fs::path& directory, Freeze freeze) {
  FreezeEntry entry;
  bool changed = false;
  std::set<std::string> absent;
  for (FrozenRun& run : freeze.runs) {
    const uint64_t sequence = *file_names::segment_sequence(run.segment);
    if (!run.given_up && entry.sequences.count(sequence) == 0 && absent.count(run.segment) == 0) {
      const fs::path link = directory / run.segment;
      struct stat st {};
      if (::lstat(link.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) {
        absent.insert(run.segment);
      } else {
        // The freeze's link holds a segment alone where a killed process had begun to give it up.
        if (::link(link.c_str(), segment_path(sequence).c_str()) != 0 && errno != EEXIST)
          log_warning("freeze {}: {}", freeze.id, errno_error(errno, "link").message);
        entry.sequences.insert(sequence);
      }
    }
    if (!run.given_up && absent.count(run.segment) != 0) {
      run.given_up = changed = true;
      freeze.gaps.push_back(
          {run.first_ns, run.last_ns + 1, run.packets, to_string(GapReason::freeze_quota)});
    }
  }
  if (changed) {
    shorten_gaps(freeze.gaps, kMaxGapsOfFreeze);
    if (const auto written = write_freeze(directory, freeze_to_json(freeze)); !written)
      log_warning("freeze {}: {}", freeze.id, written.error().message);
  }
  entry.cost = cost_of(directory) + cost_of(directory / file_names::kFreezeRecord);
  const std::lock_guard lock(state_);
  next_expiry_ns_ = std::min(next_expiry_ns_.load(), freeze.expires_ns);
  const std::string id = freeze.id;
  entry.freeze = std::move(freeze);
  freezes_.emplace(id, std::move(entry));
}

}  // namespace lookback::store
