#include "capture/ring_filter.hpp"

#include <algorithm>
#include <map>

#include "capture/link_programs.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/text.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::capture {
namespace {

constexpr size_t kMaxInterfaceName = 15;  // IFNAMSIZ without the terminator

std::vector<std::string> names_up(const std::vector<LinkEntry>& interfaces, uint16_t link_type) {
  std::vector<std::string> names;
  for (const auto& entry : interfaces) {
    if (!entry.present || !entry.up || entry.interface.link_type != link_type) continue;
    // Loopback first: always the same, and never slow to open.
    if (entry.interface.name == "lo")
      names.insert(names.begin(), entry.interface.name);
    else
      names.push_back(entry.interface.name);
  }
  return names;
}

Result<> check_selection(const std::vector<std::string>& selection) {
  for (const auto& name : selection) {
    const bool pattern = name.find_first_of("*?[") != std::string::npos;
    if (name.empty() || name.find_first_of("/ \t\n") != std::string::npos ||
        (!pattern && name_from_text(name).size() > kMaxInterfaceName))
      return fail(ErrorKind::invalid, "'{}' cannot be the name of an interface", name);
  }
  return {};
}

}  // namespace

Result<std::vector<Exclusion>> parse_exclusions(const std::vector<ExcludedConnection>& exclude) {
  const auto parse = [](const std::string& text) {
    return packet::IpAddress::parse(std::string_view(text).substr(0, text.find('%')));
  };
  std::vector<Exclusion> exclusions;
  for (const auto& connection : exclude) {
    Exclusion exclusion;
    TRY_ASSIGN(exclusion.local, parse(connection.local));
    TRY_ASSIGN(exclusion.remote, parse(connection.remote));
    exclusion.local_port = connection.local_port;
    exclusion.remote_port = connection.remote_port;
    if (exclusion.local.is_v4() != exclusion.remote.is_v4())
      return fail(ErrorKind::invalid, "{} and {} are not of one family", connection.local, connection.remote);
    if (exclusion.local_port == 0 && exclusion.remote_port == 0)
      return fail(ErrorKind::invalid, "no port is given for the excluded connections of {} and {}", connection.local,
                  connection.remote);
    exclusions.push_back(exclusion);
  }
  return exclusions;
}

Result<RingFilter> RingFilter::create(const RingOptions& options,
                                      const std::vector<LinkEntry>& interfaces) {
  RingFilter filter;
  filter.expression_ = options.filter;
  // Names are escaped in the table; a user may give the bytes.
  for (const auto& name : options.interfaces) filter.selection_.push_back(printable(name));
  filter.snaplen_ = options.snaplen;
  TRY(check_selection(filter.selection_));

  std::map<uint16_t, std::vector<uint16_t>> by_link_type;
  for (uint32_t hardware = 0; hardware <= UINT16_MAX; ++hardware) {
    const auto type = static_cast<uint16_t>(hardware);
    by_link_type[packet::link_type_of_hardware(type)].push_back(type);
  }
  for (auto& [link_type, hardware_types] : by_link_type)
    filter.links_.push_back({link_type, std::move(hardware_types), {}, false, false});
  const auto most = std::max_element(filter.links_.begin(), filter.links_.end(),
                                     [](const Link& a, const Link& b) {
                                       return a.hardware_types.size() < b.hardware_types.size();
                                     });
  most->hardware_types.clear();
  std::iter_swap(most, filter.links_.end() - 1);
  std::stable_partition(filter.links_.begin(), filter.links_.end() - 1, [](const Link& link) {
    return link.link_type == packet::link_type::kEthernet;
  });

  bool any = false;
  std::string first_error;
  for (auto& link : filter.links_) {
    auto compiled =
        compile_for_link(filter.expression_, link.link_type, names_up(interfaces, link.link_type));
    if (compiled) {
      link.include = std::move(compiled->code);
      link.live = compiled->live;
      any = true;
    } else {
      link.reject = true;
      if (first_error.empty()) first_error = compiled.error().message;
    }
  }
  if (!any) return fail(ErrorKind::invalid, "{}", first_error);
  for (const auto& link : filter.links_) {
    const bool present = std::any_of(interfaces.begin(), interfaces.end(), [&](const auto& entry) {
      return entry.interface.link_type == link.link_type && filter.selects(entry.interface.name);
    });
    if (link.reject && present)
      log_warning("the filter says nothing about frames of link type {}: none of them is recorded",
                  link.link_type);
    if (!link.reject && !link.live && present && mentions_vlan(filter.expression_) &&
        link.link_type == packet::link_type::kEthernet)
      log_warning(
          "no Ethernet interface is up to compile the filter for: until one is, 'vlan' does not "
          "see "
          "tags that a card takes off");
  }
  for (const auto& name : filter.selection_) {
    const bool found = std::any_of(interfaces.begin(), interfaces.end(), [&](const auto& entry) {
      return entry.present && glob_match(name, entry.interface.name);
    });
    if (!found) log_warning("no interface matches '{}' yet; it is recorded when it appears", name);
  }
  TRY(filter.set_excluded(options.exclude));
  return filter;
}

void RingFilter::improve(const std::vector<LinkEntry>& interfaces) {
  // Only `vlan` compiles differently, and only Ethernet has it: other types have nothing to gain.
  if (!mentions_vlan(expression_)) return;
  for (auto& link : links_) {
    if (link.live || link.reject) continue;
    const auto examples = names_up(interfaces, link.link_type);
    if (examples.empty()) continue;
    auto compiled = compile_for_link(expression_, link.link_type, examples);
    if (!compiled) {
      log_warning("the filter could not be compiled again, the one before stays: {}",
                  compiled.error().message);
      continue;
    }
    link.include = std::move(compiled->code);
    link.live = compiled->live;
  }
}

Result<> RingFilter::set_excluded(const std::vector<ExcludedConnection>& exclude) {
  TRY_ASSIGN(exclusions_, parse_exclusions(exclude));
  return {};
}

bool RingFilter::selects(const std::string& interface_name) const {
  return selection_.empty() ||
         std::any_of(selection_.begin(), selection_.end(),
                     [&](const auto& pattern) { return glob_match(pattern, interface_name); });
}

Result<Program> RingFilter::program(const std::vector<LinkEntry>& interfaces) const {
  FilterPlan plan;
  plan.snaplen = snaplen_;
  plan.exclusions = exclusions_;
  plan.select_interfaces = !selection_.empty();
  if (plan.select_interfaces) {
    for (const auto& entry : interfaces)
      if (entry.present && selects(entry.interface.name))
        plan.interface_indexes.push_back(entry.interface.index);
  }
  const bool trivial = std::all_of(links_.begin(), links_.end(), [](const Link& link) {
    return link.include.empty() && !link.reject;
  });
  if (!trivial) {
    for (const auto& link : links_)
      plan.rules.push_back({link.hardware_types, link.include, link.reject});
  }
  return compose_filter(plan);
}

}  // namespace lookback::capture
