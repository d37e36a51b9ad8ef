#include "store/note.hpp"

#include <utility>

#include "lookback/base/json.hpp"

namespace lookback::store {

Json gaps_to_json(const std::vector<Gap>& gaps) {
  Json array = Json::array();
  for (const Gap& gap : gaps) {
    array.push_back({{"start_ns", gap.start_ns},
                     {"end_ns", gap.end_ns},
                     {"packets", gap.packets},
                     {"reason", gap.reason}});
  }
  return array;
}

Result<std::vector<Gap>> gaps_from_json(const Json& array) {
  if (!array.is_array()) return fail(ErrorKind::corrupt, "gaps are not a list");
  std::vector<Gap> gaps;
  for (const Json& item : array) {
    Gap gap;
    TRY_ASSIGN(gap.start_ns, json_get<int64_t>(item, "start_ns"));
    TRY_ASSIGN(gap.end_ns, json_get<int64_t>(item, "end_ns"));
    TRY_ASSIGN(gap.packets, json_get<uint64_t>(item, "packets"));
    TRY_ASSIGN(gap.reason, json_get<std::string>(item, "reason"));
    gaps.push_back(std::move(gap));
  }
  return gaps;
}

Json clock_to_json(const std::vector<ClockSample>& clock) {
  Json array = Json::array();
  for (const ClockSample& sample : clock) {
    array.push_back({{"time_ns", sample.time_ns},
                     {"offset_ns", sample.offset_ns},
                     {"error_ns", sample.error_ns},
                     {"step_ns", sample.step_ns}});
  }
  return array;
}

Result<std::vector<ClockSample>> clock_from_json(const Json& array) {
  if (!array.is_array()) return fail(ErrorKind::corrupt, "clock samples are not a list");
  std::vector<ClockSample> clock;
  for (const Json& item : array) {
    ClockSample sample;
    TRY_ASSIGN(sample.time_ns, json_get<int64_t>(item, "time_ns"));
    TRY_ASSIGN(sample.offset_ns, json_get<int64_t>(item, "offset_ns"));
    TRY_ASSIGN(sample.error_ns, json_get<int64_t>(item, "error_ns"));
    TRY_ASSIGN(sample.step_ns, json_get<int64_t>(item, "step_ns"));
    clock.push_back(sample);
  }
  return clock;
}

std::string note_to_json(const Note& note) {
  Json json = Json::object();
  if (note.interfaces) {
    Json& table = json["interfaces"] = Json::array();
    for (const auto& interface : *note.interfaces) {
      table.push_back({{"index", interface.index},
                       {"name", interface.name},
                       {"link_type", interface.link_type},
                       {"mac", interface.mac},
                       {"mtu", interface.mtu}});
    }
  }
  if (!note.gaps.empty()) json["gaps"] = gaps_to_json(note.gaps);
  if (!note.clock.empty()) json["clock"] = clock_to_json(note.clock);
  if (note.complete_ns) json["complete_ns"] = *note.complete_ns;
  return dump_json(json);
}

Result<Note> note_from_json(std::string_view text) {
  TRY_ASSIGN(const Json json, parse_json(text, "a note"));
  if (!json.is_object()) return fail(ErrorKind::corrupt, "a note is not an object");
  Note note;
  if (const auto table = json.find("interfaces"); table != json.end()) {
    if (!table->is_array()) return fail(ErrorKind::corrupt, "interfaces are not a list");
    note.interfaces.emplace();
    for (const Json& item : *table) {
      packet::Interface interface;
      TRY_ASSIGN(interface.index, json_get<uint32_t>(item, "index"));
      TRY_ASSIGN(interface.name, json_get<std::string>(item, "name"));
      TRY_ASSIGN(interface.link_type, json_get<uint16_t>(item, "link_type"));
      TRY_ASSIGN(interface.mac, json_get<std::string>(item, "mac"));
      TRY_ASSIGN(interface.mtu, json_get<uint32_t>(item, "mtu"));
      note.interfaces->push_back(std::move(interface));
    }
  }
  if (const auto gaps = json.find("gaps"); gaps != json.end()) {
    TRY_ASSIGN(note.gaps, gaps_from_json(*gaps));
  }
  if (const auto clock = json.find("clock"); clock != json.end()) {
    TRY_ASSIGN(note.clock, clock_from_json(*clock));
  }
  if (json.contains("complete_ns")) {
    TRY_ASSIGN(note.complete_ns, json_get<int64_t>(json, "complete_ns"));
  }
  return note;
}

}  // namespace lookback::store
