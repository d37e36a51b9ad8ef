#include "exporter/plan.hpp"

#include <algorithm>
#include <set>

#include "exporter/coverage.hpp"
#include "lookback/archive/member_kind.hpp"
#include "lookback/base/gap_reason.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/text.hpp"
#include "lookback/exporter/member_bounds.hpp"
#include "lookback/packet/summary.hpp"

namespace lookback::exporter {

namespace {

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return pattern == name || glob_match(pattern, name);
         });
}

template <class Names>
std::string list(const Names& names, size_t most = 10) {
  std::string text;
  size_t written = 0;
  for (const std::string& name : names) {
    if (written == most) return text + ", …";
    text += (written++ == 0 ? "" : ", ") + name;
  }
  return text;
}

Result<TimeWindow> choose_window(const archive::Manifest& manifest, const ExportOptions& options,
                                 std::vector<std::string>& warnings) {
  const TimeWindow snapshot = manifest.window;
  if (options.from_ns && options.to_ns && *options.from_ns >= *options.to_ns) {
    return fail(ErrorKind::invalid, "the window is empty: --from {} is not before --to {}",
                format_time(*options.from_ns), format_time(*options.to_ns));
  }
  const TimeWindow window{std::max(snapshot.from_ns, options.from_ns.value_or(snapshot.from_ns)),
                          std::min(snapshot.to_ns, options.to_ns.value_or(snapshot.to_ns))};
  const std::string_view outside = window.empty() ? "lies outside" : "reaches beyond";
  const bool beyond = (options.from_ns && *options.from_ns < snapshot.from_ns) ||
                      (options.to_ns && *options.to_ns > snapshot.to_ns);
  if (beyond || window.empty()) {
    warnings.push_back(fmt::format("the window {} the snapshot, which holds {} to {}", outside,
                                   format_time(snapshot.from_ns), format_time(snapshot.to_ns)));
  }
  return window;
}

/// Every pattern must find something, so that a misspelt name does not silently find nothing.
Result<> check_patterns(const std::vector<std::string>& patterns,
                        const std::vector<std::string>& names, std::string_view what) {
  for (const std::string& pattern : patterns) {
    if (std::any_of(names.begin(), names.end(), [&](const std::string& name) {
          return pattern == name || glob_match(pattern, name);
        }))
      continue;
    return fail(ErrorKind::not_found, "no {} '{}' in this snapshot; it has {}", what, pattern,
                names.empty() ? "none" : list(names));
  }
  return {};
}

Result<> choose_nodes(const archive::Manifest& manifest, const ExportOptions& options, Plan& plan) {
  std::vector<std::string> names;
  for (const archive::NodeEntry& node : manifest.nodes) names.push_back(node.name);
  TRY(check_patterns(options.nodes, names, "node"));
  for (const archive::NodeEntry& node : manifest.nodes) {
    if (!matches_any(options.nodes, node.name)) continue;
    PlannedNode& planned = plan.nodes.emplace_back(node, plan.window);
    for (const Gap& gap : gaps_inside(node, planned.accepted)) {
      planned.gaps.push_back({gap, plan.written_time(planned, gap.end_ns)});
    }
    std::sort(planned.gaps.begin(), planned.gaps.end(),
              [](const PlannedGap& a, const PlannedGap& b) {
                return a.written_end_ns < b.written_end_ns;
              });
    for (std::string& line : missing_from(node, planned.clock, plan.window)) {
      plan.warnings.push_back(std::move(line));
      plan.complete = false;
    }
  }
  return {};
}

Result<> choose_interfaces(const ExportOptions& options, Plan& plan) {
  std::vector<std::string> names;
  for (const PlannedNode& node : plan.nodes) {
    for (const archive::InterfaceEntry& interface : node.entry->interfaces)
      names.push_back(interface.name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  // Names are escaped where they enter; a user may give the bytes.
  std::vector<std::string> patterns;
  for (const std::string& pattern : options.interfaces) patterns.push_back(printable(pattern));
  TRY(check_patterns(patterns, names, "interface"));

  plan.interfaces =
      std::make_unique<InterfaceTable>(patterns, options.filter, plan.nodes.size() > 1);
  for (uint32_t number = 0; number < plan.nodes.size(); ++number) {
    const archive::NodeEntry& node = *plan.nodes[number].entry;
    plan.nodes[number].first_interface = static_cast<uint32_t>(plan.interfaces->size());
    for (const archive::InterfaceEntry& interface : node.interfaces) {
      (void)plan.interfaces->resolve(number, node.name, interface.name, interface.link_type,
                                     interface.same_name, &interface);
    }
  }
  return {};
}

/// The interfaces of each link type that packets can come from.
std::map<uint16_t, std::vector<std::string>> names_by_link_type(const InterfaceTable& table,
                                                                bool with_filter) {
  std::map<uint16_t, std::vector<std::string>> names;
  for (uint32_t number = 0; number < table.size(); ++number) {
    const OutputInterface& interface = table.at(number);
    if ((interface.filter != nullptr) == with_filter) {
      names[interface.link_type].push_back(interface.shown_name);
    }
  }
  return names;
}

Result<> check_filter(Plan& plan) {
  const InterfaceTable& table = *plan.interfaces;
  if (table.size() == 0) {  // a wrong expression is told all the same
    const auto compiled = packet::Filter::compile(table.filter(), packet::link_type::kEthernet);
    return compiled ? Result<>{} : tl::make_unexpected(compiled.error());
  }
  const auto errors = table.filter_errors();
  if (errors.empty()) {
    if (names_by_link_type(table, true).empty())
      return fail(ErrorKind::invalid, "filter '{}': expression rejects all packets", table.filter());
    return {};
  }
  if (errors.size() == table.link_types()) return tl::make_unexpected(errors.begin()->second);
  const auto without = names_by_link_type(table, false);
  for (const auto& [link_type, error] : errors) {
    plan.warnings.push_back(
        fmt::format("the filter has no meaning on {} ({}), whose packets are left out: {}",
                    link_type_name(link_type), list(without.at(link_type)), error.message));
  }
  return {};
}

Result<> check_format(const Plan& plan) {
  if (plan.format != Format::pcap) return {};
  const auto by_type = names_by_link_type(*plan.interfaces, true);
  if (by_type.size() < 2) return {};
  std::string text;
  for (const auto& [link_type, names] : by_type) {
    text += fmt::format("{}{} on {}", text.empty() ? "" : "; ", link_type_name(link_type),
                        list(names, 5));
  }
  return fail(ErrorKind::invalid,
              "a classic pcap file holds one link type, but there are {}: choose with --interface, "
              "or write pcapng",
              text);
}

/// Seconds of classic pcap are an unsigned 32-bit number, which ends in 2106.
Result<> check_stamps(const Plan& plan) {
  constexpr int64_t kEnd = (int64_t{UINT32_MAX} + 1) * kNsPerSecond;
  if (plan.format != Format::pcap || plan.window.to_ns <= kEnd) return {};
  for (const FrameUnit& unit : plan.units) {
    if (unit.member->frames[unit.frame].last_ns < kEnd) continue;
    return fail(ErrorKind::invalid,
                "a classic pcap file cannot say times from {} on, and node {} has such: choose with --to, "
                "or write pcapng",
                format_time(kEnd), unit.member->node);
  }
  return {};
}

/// What decides about a frame without reading it.
class FrameChooser {
 public:
  FrameChooser(const Plan& plan, const std::string& filter)
      : by_filter_(packet::Prefilter::of_expression(filter)),
        by_network_(packet::Prefilter::of_networks(plan.networks.networks())) {
    if (filter.empty()) by_filter_any_ = true;
    if (plan.networks.keeps_all()) by_network_any_ = true;
    by_filter_any_ = by_filter_any_ || by_filter_.matches_anything();
    by_network_any_ = by_network_any_ || by_network_.matches_anything();
  }

  [[nodiscard]] bool may_match(const PlannedNode& node, const archive::FrameEntry& frame) const {
    if (frame.packets == 0) return false;
    if (std::none_of(node.accepted.begin(), node.accepted.end(), [&](const TimeWindow& window) {
          return window.overlaps(frame.first_ns, frame.last_ns);
        }))
      return false;
    if ((by_filter_any_ && by_network_any_) || frame.summary.empty()) return true;
    // A summary that cannot be read forbids nothing.
    const auto summary = packet::Summary::parse(frame.summary);
    if (!summary) return true;
    return (by_filter_any_ || by_filter_.may_match(*summary)) &&
           (by_network_any_ || by_network_.may_match(*summary));
  }

 private:
  packet::Prefilter by_filter_, by_network_;
  bool by_filter_any_ = false, by_network_any_ = false;
};

/// Only OS events tell processes: a node without them has none of the packets that are wanted.
Result<> choose_processes(const archive::Manifest& manifest, const ExportOptions& options,
                          Plan& plan) {
  std::vector<std::string> words;
  for (const std::string& one : options.processes) words.push_back("process " + one);
  for (const uint32_t one : options.pids) words.push_back(fmt::format("pid {}", one));
  for (const std::string& one : options.containers) words.push_back("container " + one);
  if (words.empty()) return {};
  plan.processes = list(words);
  plan.digests = true;
  std::set<std::string_view> with_events;
  for (const archive::MemberEntry& member : manifest.members) {
    if (archive::kind_of(member) == archive::MemberKind::os_events) with_events.insert(member.node);
  }
  size_t without = 0;
  for (const PlannedNode& node : plan.nodes) {
    if (with_events.contains(node.entry->name)) continue;
    ++without;
    plan.warnings.push_back(
        fmt::format("node {} has no OS events: which process a packet belongs to is not known, and "
                    "none of its packets are chosen",
                    node.entry->name));
  }
  if (!plan.nodes.empty() && without == plan.nodes.size()) {
    return fail(ErrorKind::not_found,
                "no node has OS events in this snapshot, so packets cannot be chosen by process "
                "or container");
  }
  return {};
}

Result<> choose_frames(const archive::Manifest& manifest, const std::string& filter, Plan& plan,
                       const std::atomic<bool>* cancelled) {
  std::map<std::string_view, uint32_t> numbers;
  for (uint32_t number = 0; number < plan.nodes.size(); ++number) {
    numbers.emplace(plan.nodes[number].entry->name, number);
  }
  const FrameChooser chooser(plan, filter);
  uint32_t order = 0;
  for (const archive::MemberEntry& member : manifest.members) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed))
      return fail(ErrorKind::cancelled, "the export was cancelled");
    if (!holds_packets(member)) continue;
    const auto number = numbers.find(member.node);
    if (number == numbers.end()) {
      plan.frames_skipped += member.frames.size();
      continue;
    }
    const PlannedNode& node = plan.nodes[number->second];
    bool any = false;
    for (uint32_t frame = 0; frame < member.frames.size(); ++frame, ++order) {
      const archive::FrameEntry& entry = member.frames[frame];
      if (!chooser.may_match(node, entry)) {
        ++plan.frames_skipped;
        continue;
      }
      any = true;
      const int64_t lower =
          plan.align_clocks ? node.clock.lowest_hub(entry.first_ns, entry.last_ns) : entry.first_ns;
      plan.units.push_back(
          {&member, plan.members, frame, number->second, order, lower, node.first_interface});
    }
    if (any) ++plan.members;
  }
  std::sort(plan.units.begin(), plan.units.end(), [](const FrameUnit& a, const FrameUnit& b) {
    return std::tie(a.lower_ns, a.lower_interface, a.stored_order) <
           std::tie(b.lower_ns, b.lower_interface, b.stored_order);
  });
  return {};
}

}  // namespace

std::string link_type_name(uint16_t link_type) {
  switch (link_type) {
    case packet::link_type::kNull:
      return "BSD loopback";
    case packet::link_type::kEthernet:
      return "Ethernet";
    case packet::link_type::kRaw:
      return "raw IP";
    case packet::link_type::kLoop:
      return "OpenBSD loopback";
    case packet::link_type::kLinuxSll:
      return "Linux cooked v1";
    case packet::link_type::kLinuxSll2:
      return "Linux cooked v2";
    case packet::link_type::kIeee80211Radiotap:
      return "802.11 radiotap";
    case packet::link_type::kIpv4:
      return "raw IPv4";
    case packet::link_type::kIpv6:
      return "raw IPv6";
    default:
      return fmt::format("link type {}", link_type);
  }
}

std::string describe_gap(const Plan& plan, const PlannedNode& node, const Gap& gap) {
  const std::string what =
      !costs_packets(gap.reason) ? "has no packets missing"
      : gap.packets == 0         ? "lost an unknown number of packets"
                                 : fmt::format("lost {} packets", gap.packets);
  return fmt::format("{} between {} and {}: {}", what,
                     format_time(plan.written_time(node, gap.start_ns)),
                     format_time(plan.written_time(node, gap.end_ns)), gap.reason);
}

std::shared_ptr<const packet::Filter> InterfaceTable::filter_of(uint16_t link_type) {
  const auto [entry, added] = filters_.try_emplace(link_type);
  if (added) {
    if (auto compiled = packet::Filter::compile(filter_, link_type)) {
      if (!compiled->matches_nothing())
        entry->second = std::make_shared<const packet::Filter>(std::move(*compiled));
    } else {
      filter_errors_.emplace(link_type, compiled.error());
    }
  }
  return entry->second;
}

uint32_t InterfaceTable::resolve(uint32_t node, const std::string& node_name,
                                 const std::string& name, uint16_t link_type,
                                 uint32_t same_name, const archive::InterfaceEntry* entry) {
  if (!matches_any(patterns_, name)) return kNotExported;
  const std::lock_guard lock(mutex_);
  const auto [at, added] = numbers_.try_emplace({node, name, link_type, same_name},
                                                static_cast<uint32_t>(interfaces_.size()));
  if (!added) return at->second;
  auto interface = std::make_unique<OutputInterface>();
  interface->node = node;
  interface->name = name;
  interface->shown_name = several_nodes_ ? node_name + "/" + name : name;
  interface->link_type = link_type;
  interface->same_name = same_name;
  interface->entry = entry;
  interface->filter = filter_of(link_type);
  interfaces_.push_back(std::move(interface));
  return at->second;
}

size_t InterfaceTable::size() const {
  const std::lock_guard lock(mutex_);
  return interfaces_.size();
}

const OutputInterface& InterfaceTable::at(uint32_t number) const {
  const std::lock_guard lock(mutex_);
  return *interfaces_[number];
}

size_t InterfaceTable::link_types() const {
  const std::lock_guard lock(mutex_);
  return filters_.size();
}

std::map<uint16_t, Error> InterfaceTable::filter_errors() const {
  const std::lock_guard lock(mutex_);
  return filter_errors_;
}

Result<Plan> make_plan(const archive::Manifest& manifest, const ExportOptions& options,
                       const std::atomic<bool>* cancelled) {
  Plan plan;
  plan.networks = packet::NetworkFilter(options.networks);
  TRY_ASSIGN(plan.recorded_networks, packet::NetworkFilter::parse(manifest.ip_filter));
  plan.format = options.format;
  plan.microseconds = options.microseconds;
  plan.snaplen = options.snaplen;
  plan.dedup = options.dedup;
  plan.align_clocks = options.align_clocks;
  TRY_ASSIGN(plan.window, choose_window(manifest, options, plan.warnings));
  TRY(choose_nodes(manifest, options, plan));
  TRY(choose_interfaces(options, plan));
  TRY(check_filter(plan));
  TRY(check_format(plan));
  TRY(choose_processes(manifest, options, plan));
  TRY(choose_frames(manifest, options.filter, plan, cancelled));
  TRY(check_stamps(plan));
  return plan;
}

}  // namespace lookback::exporter
