// Reading what is frozen.
#include <optional>
#include <utility>

#include "lookback/store/file_names.hpp"
#include "store/run_reader.hpp"
#include "store/store_impl.hpp"

namespace lookback::store {

namespace fs = std::filesystem;

namespace {

/// Where a table of interfaces stands.
struct TablePlace {
  fs::path file;
  uint64_t epoch = 0, offset = 0;
};

/// Nothing where it cannot be read.
std::optional<std::vector<packet::Interface>> load_table(const TablePlace& place) {
  auto file = BlockWindow::open(place.file, 0);
  if (!file) return std::nullopt;
  auto note = load_note(*file, place.epoch, place.offset);
  if (!note) return std::nullopt;
  return std::move(note->interfaces);
}

}  // namespace

Result<std::unique_ptr<RunReader>> StoreImpl::read_run(const std::string& freeze_id,
                                                       size_t run_index) const {
  FrozenRun run;
  uint64_t epoch = 0;
  uint64_t sequence = 0;
  std::vector<TablePlace> before, behind;  // in the order of the file
  {
    const std::lock_guard state(state_);
    const auto it = freezes_.find(freeze_id);
    if (it == freezes_.end() || !alive(it->second.freeze))
      return fail(ErrorKind::not_found, "there is no freeze {}", freeze_id);
    if (run_index >= it->second.freeze.runs.size())
      return fail(ErrorKind::not_found, "freeze {} has no run {}", freeze_id, run_index);
    run = it->second.freeze.runs[run_index];
    sequence = *file_names::segment_sequence(run.segment);
    const auto at = catalog_.segments.find(sequence);
    if (run.given_up || at == catalog_.segments.end())
      return fail(ErrorKind::not_found, "run {} of freeze {} was given up", run_index, freeze_id);
    const Segment& segment = at->second;
    if (!segment.readable)
      return fail(ErrorKind::corrupt, "run {} of freeze {}: the segment's header is damaged",
                  run_index, freeze_id);
    epoch = segment.epoch;
    // Where a table is lost, those of the segments around it, if the same run of the recorder wrote them.
    const auto is_of_run = [&](const Segment& other) {
      return other.run_id == segment.run_id && other.readable && !other.table_pages.empty();
    };
    const auto place_in = [](const fs::path& path, const Segment& one, uint32_t page) {
      return TablePlace{path, one.epoch, uint64_t{page} * kPageBytes};
    };
    if (at != catalog_.segments.begin())
      if (const auto& [number, last] = *std::prev(at); number + 1 == sequence && is_of_run(last))
        before.push_back(place_in(segment_path(number), last, last.table_pages.back()));
    const fs::path path = freeze_path(freeze_id) / run.segment;
    for (const uint32_t page : segment.table_pages)
      (uint64_t{page} * kPageBytes < run.offset ? before : behind).push_back(place_in(path, segment, page));
    if (const auto next = std::next(at); next != catalog_.segments.end() && next->first == sequence + 1 && is_of_run(next->second))
      behind.push_back(place_in(segment_path(next->first), next->second, next->second.table_pages.front()));
  }
  auto file = BlockWindow::open(freeze_path(freeze_id) / run.segment, kRunReadAhead);
  if (!file)
    return tl::make_unexpected(
        file.error().in(fmt::format("run {} of freeze {}", run_index, freeze_id)));
  RunSource source{std::move(*file), epoch, run.offset, run.bytes, run.first_ns, run.last_ns, {}};
  source.on_damage = [ledger = damage_, sequence](const Gap& gap) { ledger->add(sequence, gap); };
  for (size_t i = before.size(); i > 0; --i) {
    auto table = load_table(before[i - 1]);
    if (!table) continue;
    const bool valid = i == before.size() && before[i - 1].epoch == epoch;
    (valid ? source.interfaces.emplace() : source.before) = std::move(*table);
    break;
  }
  source.table_behind = [behind = std::move(behind), epoch](uint64_t offset) {
    for (const TablePlace& place : behind) {
      if (place.epoch == epoch && place.offset < offset) continue;
      if (auto table = load_table(place)) return std::move(*table);
    }
    return std::vector<packet::Interface>();
  };
  return std::unique_ptr<RunReader>(std::make_unique<SegmentRunReader>(std::move(source)));
}

}  // namespace lookback::store
