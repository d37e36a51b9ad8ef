#include "cli/snapshot_view.hpp"

#include <unistd.h>

#include <algorithm>

#include "cli/exit_status.hpp"
#include "cli/json_text.hpp"
#include "cli/table.hpp"
#include "lookback/base/gap_reason.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

namespace {

Json gap_object(const archive::Gap& gap) {
  return {{"start", format_time_ns(gap.start_ns)},
          {"end", format_time_ns(gap.end_ns)},
          {"packets", gap.packets},
          {"reason", gap.reason}};
}

Json node_object(const archive::NodeEntry& node, uint64_t members) {
  Json object = {{"name", node.name},        {"version", node.version}, {"status", node.status},
                 {"reason", node.reason},    {"packets", node.packets}, {"bytes", node.bytes},
                 {"members_total", members}, {"members_done", members}, {"coverage", nullptr},
                 {"losses_counted", node.losses_counted}};
  if (node.coverage) {
    object["coverage"] = {{"from", format_time_ns(node.coverage->from_ns)},
                          {"to", format_time_ns(node.coverage->to_ns)}};
  }
  Json& gaps = object["gaps"] = Json::array();
  for (const archive::Gap& gap : node.gaps) gaps.push_back(gap_object(gap));
  Json& clock = object["clock"] = Json::array();
  for (const archive::ClockSample& sample : node.clock) {
    clock.push_back({{"time", format_time_ns(sample.time_ns)},
                     {"offset_ns", sample.offset_ns},
                     {"error_ns", sample.error_ns},
                     {"step_ns", sample.step_ns}});
  }
  Json& interfaces = object["interfaces"] = Json::array();
  for (const archive::InterfaceEntry& one : node.interfaces) {
    interfaces.push_back({{"name", one.name}, {"link_type", one.link_type}, {"mac", one.mac}});
  }
  Json& excluded = object["excluded"] = Json::array();
  for (const archive::ExcludedEntry& one : node.excluded) {
    excluded.push_back({{"connection", one.connection},
                        {"from", format_time_ns(one.from_ns)},
                        {"to", format_time_ns(one.to_ns)}});
  }
  return object;
}

Colour status_colour(const std::string& status) {
  if (status == "completed" || status == "complete") return Colour::green;
  if (status == "failed") return Colour::red;
  return status == "incomplete" || status == "partial" ? Colour::yellow : Colour::none;
}

/// Packets known to be lost, "+" where there may be more; "-" where nothing is known.
std::string lost_packets(const Json& gaps, bool counted) {
  if (gaps.empty()) return counted ? "0" : "-";
  int64_t packets = 0;
  bool unknown = !counted;
  for (const Json& gap : gaps) {
    packets += number_of(gap, "packets");
    unknown |= number_of(gap, "packets") == 0 && costs_packets(text_of(gap, "reason"));
  }
  return grouped(static_cast<uint64_t>(packets)) + (unknown ? "+" : "");
}

/// Where nothing is said, losses are counted: recorders do.
bool losses_counted(const Json& node) {
  const Json& counted = member_of(node, "losses_counted");
  return !counted.is_boolean() || counted.get<bool>();
}

/// The last sample tells the offset at the end of the window.
std::string node_clock(const Json& node) {
  const Json& samples = list_of(node, "clock");
  if (samples.empty()) return "-";
  return clock_text(number_of(samples.back(), "offset_ns"), number_of(samples.back(), "error_ns"));
}

std::string fact(std::string_view name, std::string_view value) {
  return fmt::format("{:<10} {}\n", name, printable(value));
}

std::string joined(const Json& list) {
  std::string out;
  for (const Json& one : list) {
    if (!one.is_string()) continue;
    if (!out.empty()) out += ", ";
    out += one.get<std::string>();
  }
  return out;
}

}  // namespace

bool means_file(const std::string& argument) {
  if (argument.find('/') != std::string::npos) return true;
  std::error_code ec;
  return argument.ends_with(".zst") && std::filesystem::exists(argument, ec);
}

Json object_of(const archive::Manifest& manifest, uint64_t file_bytes) {
  Json object = {{"name", manifest.name},
                 {"id", manifest.id},
                 {"state", "completed"},
                 {"complete", manifest.complete},
                 {"reason", ""},
                 {"from", format_time_ns(manifest.window.from_ns)},
                 {"to", format_time_ns(manifest.window.to_ns)},
                 {"created", format_time_ns(manifest.created_ns)},
                 {"created_by", manifest.created_by},
                 {"size_bytes", file_bytes},
                 {"tags", manifest.tags},
                 {"networks", manifest.ip_filter},
                 {"location", "file"}};
  uint64_t content = 0, packets = 0;
  std::map<std::string, uint64_t> members;
  for (const archive::MemberEntry& member : manifest.members) {
    content += member.size;
    packets += member.packets;
    ++members[member.node];
  }
  object["content_bytes"] = content;
  object["packets"] = packets;
  Json& nodes = object["nodes"] = Json::array();
  for (const archive::NodeEntry& node : manifest.nodes)
    nodes.push_back(node_object(node, members[node.name]));
  return object;
}

std::string status_text(const Json& snapshot) {
  const std::string state = text_of(snapshot, "state");
  if (state == "completed" && !truth_of(snapshot, "complete", true)) return "incomplete";
  if (state == "in_progress") {
    const Json& progress = member_of(snapshot, "progress");
    const auto total = static_cast<double>(number_of(progress, "bytes_total"));
    const auto done = static_cast<double>(number_of(progress, "bytes_done"));
    if (total > 0) return fmt::format("in_progress {:.0f} %", std::min(100.0, 100 * done / total));
  }
  return state;
}

std::string snapshots_table(const Json& snapshots) {
  Table table({{"Name", false, 12},
               {"Size", true},
               {"Start"},
               {"End"},
               {"Status"},
               {"Created"},
               {"Nodes", true},
               {"Location"}});
  for (const Json& one : snapshots) {
    const std::string status = status_text(one);
    const Json& nodes = member_of(one, "nodes");
    table.add({{text_of(one, "name"), Colour::bold},
               number_of(one, "size_bytes") != 0
                   ? format_size(static_cast<uint64_t>(number_of(one, "size_bytes")))
                   : "-",
               time_of(one, "from"),
               time_of(one, "to"),
               {status, status_colour(status)},
               time_of(one, "created"),
               nodes.is_array() ? std::to_string(nodes.size()) : "-",
               text_of(one, "location")});
  }
  return table.render(TableStyle::of(STDOUT_FILENO));
}

std::string snapshot_page(const Json& snapshot) {
  const TableStyle style = TableStyle::of(STDOUT_FILENO);
  const auto bytes = [&](const char* key) {
    return format_size(static_cast<uint64_t>(number_of(snapshot, key)));
  };
  std::string page = fact("Name", text_of(snapshot, "name"));
  page += fact("Id", text_of(snapshot, "id"));
  const std::string status = status_text(snapshot);
  page += fmt::format("{:<10} {}\n", "Status",
                      style.colour ? paint(printable(status), status_colour(status))
                                   : printable(status));
  if (const std::string reason = text_of(snapshot, "reason"); !reason.empty())
    page += fact("Reason", reason);
  const auto from = parse_rfc3339(text_of(snapshot, "from")),
             to = parse_rfc3339(text_of(snapshot, "to"));
  page +=
      fact("Window",
           fmt::format("{} to {}{}", exact_time_of(snapshot, "from"), exact_time_of(snapshot, "to"),
                       from && to ? fmt::format(" ({})", format_duration(*to - *from)) : ""));
  page += fact("Created", exact_time_of(snapshot, "created"));
  page += fact("Packets", grouped(static_cast<uint64_t>(number_of(snapshot, "packets"))));
  page +=
      fact("Size", fmt::format("{} of {} content", bytes("size_bytes"), bytes("content_bytes")));
  if (const Json& networks = list_of(snapshot, "networks"); !networks.empty())
    page += fact("Addresses", joined(networks) + ", and what cannot be looked into");
  if (const Json& tags = member_of(snapshot, "tags"); tags.is_object()) {
    for (const auto& [key, value] : tags.items()) {
      page += fact("Tag", fmt::format("{}={}", key,
                                      value.is_string() ? value.get<std::string>() : dump_json(value)));
    }
  }
  page += fact("Location", text_of(snapshot, "location"));

  const Json& nodes = list_of(snapshot, "nodes");
  Table table({{"Node", false, 12},
               {"Status"},
               {"From"},
               {"To"},
               {"Packets", true},
               {"Bytes", true},
               {"Gaps", true},
               {"Lost", true},
               {"Clock"}});
  std::string reasons, gaps;
  for (const Json& node : nodes) {
    const std::string state = text_of(node, "status");
    const Json& coverage = member_of(node, "coverage");
    const Json& list = list_of(node, "gaps");
    table.add({{text_of(node, "name"), Colour::bold},
               {state, status_colour(state)},
               exact_time_of(coverage, "from"),
               exact_time_of(coverage, "to"),
               grouped(static_cast<uint64_t>(number_of(node, "packets"))),
               format_size(static_cast<uint64_t>(number_of(node, "bytes"))),
               std::to_string(list.size()),
               lost_packets(list, losses_counted(node)),
               node_clock(node)});
    if (const std::string reason = text_of(node, "reason"); !reason.empty()) {
      reasons += fmt::format("  {}: {}\n", printable(text_of(node, "name")), printable(reason));
    }
    for (const Json& gap : list) {
      const int64_t packets = number_of(gap, "packets");
      gaps += fmt::format("  {}: {} to {}: {}, {}\n", printable(text_of(node, "name")),
                          exact_time_of(gap, "start"), exact_time_of(gap, "end"),
                          printable(text_of(gap, "reason")),
                          packets != 0 ? counted(static_cast<uint64_t>(packets), "packet") + " lost"
                          : costs_packets(text_of(gap, "reason"))
                              ? std::string("not known how many packets")
                              : std::string("no packets"));
    }
  }
  if (!table.empty()) page += "\n" + table.render(style);
  if (!reasons.empty()) page += "\nNot complete:\n" + reasons;
  if (!gaps.empty()) page += "\nGaps (times of the node's clock):\n" + gaps;
  return page;
}

void report_incomplete(const Json& snapshot) {
  const std::string name = text_of(snapshot, "name");
  bool named = false;
  for (const Json& node : list_of(snapshot, "nodes")) {
    const std::string status = text_of(node, "status");
    if (status != "partial" && status != "failed") continue;
    const std::string reason = text_of(node, "reason");
    report_note(fmt::format("snapshot {}: node {} is {}: {}", name, text_of(node, "name"), status,
                            reason.empty() ? "no reason was given" : reason));
    named = true;
  }
  if (!named) {
    const std::string reason = text_of(snapshot, "reason");
    report_note(
        fmt::format("snapshot {} is not complete{}", name, reason.empty() ? "" : ": " + reason));
  }
}

}  // namespace lookback::cli
