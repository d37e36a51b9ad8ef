#include "store/freeze_record.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "lookback/base/coverage_json.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/names.hpp"
#include "lookback/store/file_names.hpp"
#include "lookback/store/segment_format.hpp"

namespace lookback::store {

namespace {

constexpr int kRecordVersion = 2;

constexpr size_t kMostParts = 100'000, kMostOfRecord = 1'000'000;

Json parts_to_json(const std::vector<std::vector<TimeWindow>>& parts) {
  Json array = Json::array();
  for (const auto& part : parts) {
    Json& windows = array.emplace_back(Json::array());
    for (const TimeWindow& window : part) windows.push_back({window.from_ns, window.to_ns});
  }
  return array;
}

Result<std::vector<std::vector<TimeWindow>>> parts_from_json(const Json& array) {
  std::vector<std::vector<TimeWindow>> parts;
  if (!array.is_array() || array.empty() || array.size() > kMostParts)
    return fail(ErrorKind::corrupt, "the freeze's parts are not a list");
  for (const Json& windows : array) {
    auto& part = parts.emplace_back();
    if (!windows.is_array()) return fail(ErrorKind::corrupt, "a part is not a list of windows");
    for (const Json& window : windows) {
      if (!window.is_array() || window.size() != 2 || !window[0].is_number_integer() ||
          !window[1].is_number_integer())
        return fail(ErrorKind::corrupt, "a window is not a pair of times");
      part.push_back({window[0].get<int64_t>(), window[1].get<int64_t>()});
    }
  }
  return parts;
}

Result<FrozenRun> run_from_json(const Json& item, const std::string& file, bool given_up) {
  constexpr size_t kNumbers = 6;
  if (!item.is_array() || item.size() != kNumbers)
    return fail(ErrorKind::corrupt, "a run is not a list of six numbers");
  for (size_t i = 0; i < kNumbers; ++i) {
    const bool is_time = i == 3 || i == 4;
    const bool right = is_time ? item[i].is_number_integer() : item[i].is_number_unsigned();
    if (!right) return fail(ErrorKind::corrupt, "a run is not a list of six numbers");
  }
  FrozenRun run;
  run.segment = file;
  run.offset = item[0].get<uint64_t>();
  run.bytes = item[1].get<uint64_t>();
  run.packets = item[2].get<uint64_t>();
  run.first_ns = item[3].get<int64_t>();
  run.last_ns = item[4].get<int64_t>();
  run.part = item[5].get<uint32_t>();
  run.given_up = given_up;
  if (run.offset % kPageBytes != 0 || run.offset > (1ULL << 60) || run.bytes > (1ULL << 60))
    return fail(ErrorKind::corrupt, "a run has impossible bounds");
  return run;
}

}  // namespace

std::string freeze_to_json(const Freeze& freeze) {
  // Runs may be many thousands, so the text is put together here rather than from a tree of JSON
  // values.
  fmt::memory_buffer text;
  auto out = std::back_inserter(text);
  fmt::format_to(out,
                 R"({{"version":{},"id":{},"owner":{},"extra":"{}","from_ns":{},"to_ns":{},)"
                 R"("created_ns":{},"expires_ns":{},)",
                 kRecordVersion, dump_json(freeze.id), dump_json(freeze.owner),
                 to_base64(as_bytes(freeze.extra)), freeze.window.from_ns, freeze.window.to_ns,
                 freeze.created_ns, freeze.expires_ns);
  fmt::format_to(out, R"("oldest_ns":{},"parts":{},"gaps":{},"clock":{},"segments":[)",
                 freeze.oldest_ns ? std::to_string(*freeze.oldest_ns) : "null",
                 dump_json(parts_to_json(freeze.parts)), dump_json(gaps_to_json(freeze.gaps)),
                 dump_json(clock_to_json(freeze.clock)));
  const FrozenRun* previous = nullptr;
  for (const FrozenRun& run : freeze.runs) {
    if (previous == nullptr || previous->segment != run.segment) {
      fmt::format_to(out, "{}\n{{\"file\":\"{}\",\"given_up\":{},\"runs\":[",
                     previous != nullptr ? "]}," : "", run.segment, run.given_up);
    } else {
      text.push_back(',');
    }
    fmt::format_to(out, "[{},{},{},{},{},{}]", run.offset, run.bytes, run.packets, run.first_ns,
                   run.last_ns, run.part);
    previous = &run;
  }
  fmt::format_to(out, "{}]}}\n", previous != nullptr ? "]}" : "");
  return fmt::to_string(text);
}

Result<Freeze> freeze_from_json(std::string_view text) {
  TRY_ASSIGN(const Json json, parse_json(text, "freeze.json"));
  TRY_ASSIGN(const int version, json_get<int>(json, "version"));
  if (version != kRecordVersion)
    return fail(ErrorKind::corrupt, "freeze.json has version {}, which is not known here", version);
  Freeze freeze;
  TRY_ASSIGN(freeze.id, json_get<std::string>(json, "id"));
  TRY(check_snapshot_name(freeze.id));
  TRY_ASSIGN(freeze.owner, json_get<std::string>(json, "owner"));
  TRY_ASSIGN(const auto extra, json_get_or<std::string>(json, "extra", ""));
  TRY_ASSIGN(freeze.extra, from_base64(extra));
  TRY_ASSIGN(freeze.window.from_ns, json_get<int64_t>(json, "from_ns"));
  TRY_ASSIGN(freeze.window.to_ns, json_get<int64_t>(json, "to_ns"));
  TRY_ASSIGN(freeze.created_ns, json_get<int64_t>(json, "created_ns"));
  TRY_ASSIGN(freeze.expires_ns, json_get<int64_t>(json, "expires_ns"));
  if (const auto oldest = json.find("oldest_ns"); oldest != json.end() && !oldest->is_null()) {
    TRY_ASSIGN(freeze.oldest_ns, json_get<int64_t>(json, "oldest_ns"));
  }
  const auto segments = json.find("segments"), parts = json.find("parts");
  if (parts == json.end() || !json.contains("gaps") || !json.contains("clock") || segments == json.end() ||
      !segments->is_array())
    return fail(ErrorKind::corrupt, "freeze.json is not whole");
  TRY_ASSIGN(freeze.parts, parts_from_json(*parts));
  TRY_ASSIGN(freeze.gaps, gaps_from_json(json, "gaps", kMostOfRecord));
  TRY_ASSIGN(freeze.clock, clock_from_json(json, "clock", kMostOfRecord));
  for (const Json& segment : *segments) {
    TRY_ASSIGN(const auto file, json_get<std::string>(segment, "file"));
    TRY_ASSIGN(const bool given_up, json_get<bool>(segment, "given_up"));
    if (!file_names::segment_sequence(file))
      return fail(ErrorKind::corrupt, "'{}' names no segment", file);
    const auto runs = segment.find("runs");
    if (runs == segment.end() || !runs->is_array())
      return fail(ErrorKind::corrupt, "freeze.json is not whole");
    for (const Json& item : *runs) {
      TRY_ASSIGN(FrozenRun run, run_from_json(item, file, given_up));
      if (run.part >= freeze.parts.size())
        return fail(ErrorKind::corrupt, "a run is of a part that there is not");
      freeze.runs.push_back(std::move(run));
    }
  }
  return freeze;
}

Result<> write_freeze(const std::filesystem::path& directory, std::string_view json) {
  const auto path = directory / file_names::kFreezeRecord;
  const auto temporary = directory / file_names::kFreezeRecordTemporary;
  const auto written = [&]() -> Result<> {
    TRY_ASSIGN(const Fd fd, open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    TRY(write_all(fd.get(), as_bytes(json)));
    if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno(errno, "rename");
    return {};
  }();
  if (!written) {
    ::unlink(temporary.c_str());
    return tl::make_unexpected(written.error().in(fmt::format("cannot write {}", path.string())));
  }
  return {};
}

Result<> sync_freeze(const std::filesystem::path& directory) {
  TRY_ASSIGN(const Fd fd, open_file(directory / file_names::kFreezeRecord, O_RDONLY));
  if (::fsync(fd.get()) != 0) return fail_errno(errno, "fsync");
  TRY(sync_directory(directory));
  return sync_directory(directory.parent_path());
}

}  // namespace lookback::store
