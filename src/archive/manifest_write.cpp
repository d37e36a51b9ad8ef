// The manifest as JSON. The top is laid out for people, a member stands on one line.
#include <algorithm>
#include <iterator>

#include "archive/frame_entry.hpp"
#include "lookback/archive/limits.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/saturating.hpp"

namespace lookback::archive {

namespace {

template <class... Args>
void put(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

/// RFC 3339, with what its reader would refuse (before 1678, from 2262 on) brought to the nearest that it takes.
std::string time_text(int64_t ns) {
  constexpr int64_t kEarliest = -9'214'560'000 * kNsPerSecond, kLatest = 9'214'646'400 * kNsPerSecond - 1;
  return format_time_ns(std::clamp(ns, kEarliest, kLatest));
}

/// `, "key": "text"`, without the comma after an opening bracket.
void put_text(std::string& out, std::string_view key, std::string_view text) {
  if (out.back() != '{') out += ", ";
  put(out, "\"{}\": ", key);
  append_json_string(out, text);
}

void put_window(std::string& out, const TimeWindow& window) {
  put(out, R"({{"from": "{}", "to": "{}"}})", time_text(window.from_ns), time_text(window.to_ns));
}

/// At most `limit` bytes of it, never half a character.
std::string_view clipped(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  return text.substr(0, limit);
}

void put_reason(std::string& out, std::string_view reason) { put_text(out, "reason", clipped(reason, kMaxReason)); }

/// All of them, or as many as a reader takes with the rest in one.
std::vector<Gap> bounded(const std::vector<Gap>& gaps) {
  std::vector<Gap> kept(gaps.begin(), gaps.begin() + static_cast<ptrdiff_t>(std::min(gaps.size(), kMaxNodeGaps)));
  for (size_t i = kMaxNodeGaps; i < gaps.size(); ++i) {
    Gap& last = kept.back();
    last.start_ns = std::min(last.start_ns, gaps[i].start_ns);
    last.end_ns = std::max(last.end_ns, gaps[i].end_ns);
    saturate(last.packets, gaps[i].packets);
    last.reason = "many gaps, told as one";
  }
  return kept;
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

void put_node(std::string& out, const NodeEntry& node) {
  out += '{';
  put_text(out, "name", node.name);
  put_text(out, "version", node.version);
  put_text(out, "status", node.status);
  put_reason(out, node.reason);
  out += ",\n     \"coverage\": ";
  if (node.coverage) {
    put_window(out, *node.coverage);
  } else {
    out += "null";
  }
  put(out, ", \"packets\": {}, \"bytes\": {},\n     \"gaps\": ", node.packets, node.bytes);
  put_lines(out, bounded(node.gaps), "     ", [&](const Gap& gap) {
    put(out, R"({{"start": "{}", "end": "{}", "packets": {})", time_text(gap.start_ns), time_text(gap.end_ns), gap.packets);
    put_reason(out, gap.reason);
    out += '}';
  });
  out += ",\n     \"clock\": ";
  put_lines(out, node.clock, "     ", [&](const ClockSample& sample) {
    put(out, R"({{"time": "{}", "offset_ns": {}, "error_ns": {}, "step_ns": {}}})", time_text(sample.time_ns), sample.offset_ns,
        sample.error_ns, sample.step_ns);
  });
  out += ",\n     \"interfaces\": ";
  put_lines(out, node.interfaces, "     ", [&](const InterfaceEntry& interface) {
    out += '{';
    put_text(out, "name", interface.name);
    put(out, ", \"link_type\": {}", interface.link_type);
    put_text(out, "mac", interface.mac);
    if (interface.same_name != 0) put(out, ", \"same_name\": {}", interface.same_name);
    if (!interface.description.empty()) put_text(out, "description", interface.description);
    if (!interface.filter.empty()) put_text(out, "filter", interface.filter);
    if (!interface.os.empty()) put_text(out, "os", interface.os);
    if (!interface.options.empty()) put_text(out, "options", interface.options);
    if (interface.dropped) put(out, ", \"dropped\": {}", *interface.dropped);
    out += '}';
  });
  if (!node.origin.empty()) {
    out += ",\n     \"origin\": ";
    append_json_string(out, node.origin);
  }
  if (!node.losses_counted) out += ",\n     \"losses_counted\": false";
  if (!node.excluded.empty()) {
    out += ",\n     \"excluded\": ";
    put_lines(out, node.excluded, "     ", [&](const ExcludedEntry& one) {
      out += '{';
      put_text(out, "connection", one.connection);
      put(out, R"(, "from": "{}", "to": "{}"}})", time_text(one.from_ns), time_text(one.to_ns));
    });
  }
  if (!node.layers.empty()) {
    out += ",\n     \"layers\": {";
    for (const LayerEntry& layer : node.layers) {
      if (out.back() != '{') out += ", ";
      append_json_string(out, layer.name);
      out += ": {";
      put_text(out, "state", layer.state);
      put_reason(out, layer.reason);
      out += '}';
    }
    out += '}';
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
  put(out, ",\n  \"created\": \"{}\",\n  \"window\": ", time_text(created_ns));
  put_window(out, window);
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
