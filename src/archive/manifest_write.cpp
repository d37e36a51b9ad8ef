// The manifest as JSON. The top is laid out for people, a member stands on one line.
#include <algorithm>
#include <iterator>

#include "archive/frame_entry.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/archive/node_json.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/json_time.hpp"

namespace lookback::archive {

namespace {

template <class... Args>
void put(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

/// `, "key": "text"`, without the comma after an opening bracket.
void put_text(std::string& out, std::string_view key, std::string_view text) {
  if (out.back() != '{') out += ", ";
  put(out, "\"{}\": ", key);
  append_json_string(out, text);
}

/// An array with each element on a line of its own.
template <class Elements, class Put>
void put_lines(std::string& out, const Elements& elements, std::string_view indent, Put put_element) {
  out += '[';
  bool first = true;
  for (const auto& element : elements) {
    put(out, "{}\n{}  ", first ? "" : ",", indent);
    first = false;
    put_element(element);
  }
  if (!first) put(out, "\n{}", indent);
  out += ']';
}

/// As people read it: lists below, an element on each line.
constexpr std::string_view kNodeOrder[] = {"name",  "version", "status",     "reason",   "coverage", "packets",       "bytes",
                                           "gaps",  "clock",   "interfaces", "excluded", "origin",   "losses_counted", "layers"};

void put_node(std::string& out, const NodeEntry& node) {
  const Json json = node_to_json(node);
  out += '{';
  for (const std::string_view key : kNodeOrder) {
    const Json& value = json.at(std::string(key));
    if (out.back() != '{') out += value.is_array() ? ",\n     " : ", ";
    put(out, "\"{}\": ", key);
    if (value.is_array()) {
      put_lines(out, value, "     ", [&](const Json& element) { out += dump_json(element); });
    } else {
      out += dump_json(value);
    }
  }
  out += '}';
}

void put_member(std::string& out, const MemberEntry& member) {
  out += '{';
  put_text(out, "name", member.name);
  put_text(out, "node", member.node);
  put(out, R"(, "archive_offset": {}, "content_offset": {}, "size": {})", member.archive_offset, member.content_offset, member.size);
  put_text(out, "sha256", member.sha256);
  put(out, R"(, "packets": {}, "frames": )", member.packets);
  append_frames(out, member.frames);
  out += '}';
}

}  // namespace

std::string Manifest::to_json() const {
  std::string out;
  put(out, "{{\n  \"version\": {},\n  \"name\": ", version);
  append_json_string(out, name);
  out += ",\n  \"id\": ";
  append_json_string(out, id);
  out += ",\n  \"created_by\": ";
  append_json_string(out, created_by);
  put(out, ",\n  \"created\": {},\n  \"window\": {}", dump_json(time_to_json(created_ns)), dump_json(window_to_json(window)));
  out += ",\n  \"ip_filter\": ";
  put_lines(out, ip_filter, "  ", [&](const std::string& network) { append_json_string(out, network); });
  out += ",\n  \"tags\": {";
  for (const auto& [key, value] : tags) {
    out += out.back() == '{' ? "\n    " : ",\n    ";
    append_json_string(out, key);
    out += ": ";
    append_json_string(out, value);
  }
  put(out, "{}}},\n  \"complete\": {},\n  \"nodes\": ", tags.empty() ? "" : "\n  ", complete);
  put_lines(out, nodes, "  ", [&](const NodeEntry& node) { put_node(out, node); });
  out += ",\n  \"members\": ";
  put_lines(out, members, "  ", [&](const MemberEntry& member) { put_member(out, member); });
  out += "\n}\n";
  return out;
}

std::string member_to_json(const MemberEntry& member) {
  std::string out;
  put_member(out, member);
  return out;
}

}  // namespace lookback::archive
