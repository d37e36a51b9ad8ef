#include "store/note.hpp"

#include <utility>

#include "lookback/base/coverage_json.hpp"
#include "lookback/base/json.hpp"

namespace lookback::store {

namespace {

/// No note tells of more.
constexpr size_t kMostOfNote = 1'000'000;

}  // namespace

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
  TRY_ASSIGN(note.gaps, gaps_from_json(json, "gaps", kMostOfNote));
  TRY_ASSIGN(note.clock, clock_from_json(json, "clock", kMostOfNote));
  if (json.contains("complete_ns")) {
    TRY_ASSIGN(note.complete_ns, json_get<int64_t>(json, "complete_ns"));
  }
  return note;
}

}  // namespace lookback::store
