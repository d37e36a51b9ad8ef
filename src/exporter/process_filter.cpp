#include "exporter/process_filter.hpp"

#include <algorithm>

#include "lookback/base/ip_protocol.hpp"
#include "lookback/base/names.hpp"

namespace lookback::exporter {

namespace {

/// An id may be given by its beginning, as docker and crictl show it; less is a name.
constexpr size_t kShortestId = 6;

bool is_named(const std::vector<std::string>& patterns, std::string_view name) {
  return !name.empty() &&
         std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return pattern == name || glob_match(pattern, std::string(name));
         });
}

bool is_container(const std::vector<std::string>& patterns, const context::Container& container) {
  return is_named(patterns, container.name) ||
         std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return pattern.size() >= kShortestId && container.id.starts_with(pattern);
         });
}

}  // namespace

bool ProcessFilter::wanted(const ExportOptions& options) {
  return !options.processes.empty() || !options.pids.empty() || !options.containers.empty();
}

bool ProcessFilter::matches(const context::Owner* owner) const {
  if (owner == nullptr) return false;
  if (!options_.pids.empty() &&
      std::find(options_.pids.begin(), options_.pids.end(), owner->pid) == options_.pids.end())
    return false;
  if (!options_.processes.empty()) {
    const std::string_view exe = owner->exe;
    const std::string_view file = exe.substr(exe.rfind('/') + 1);  // npos + 1 is 0
    if (!is_named(options_.processes, owner->comm) && !is_named(options_.processes, file) &&
        !is_named(options_.processes, exe))
      return false;
  }
  return options_.containers.empty() ||
         (owner->container && is_container(options_.containers, *owner->container));
}

Result<> ProcessFilter::write(const FrameBatch& batch, uint32_t node, size_t first, size_t last) {
  // One by one: what comes next may ask about the same packets, and questions go by time.
  for (size_t i = first; i < last; ++i) {
    TRY_ASSIGN(const PacketOwners owners,
               attribution_.of(node, batch.packets[i].interface, batch.digests[i],
                               batch.packets[i].time_ns));
    if (matches(owners.sender) || matches(owners.receiver)) {
      TRY(next_.write(batch, node, i, i + 1));
    } else if (const PacketDigest& packet = batch.digests[i]; packet.is_ip) {
      if (packet.protocol == ip_protocol::kIcmp || packet.protocol == ip_protocol::kIcmp6) {
        ++icmp_;
      } else if (packet.protocol != ip_protocol::kTcp && packet.protocol != ip_protocol::kUdp) {
        ++other_protocols_;
      }
    }
  }
  return {};
}

std::vector<std::string> ProcessFilter::warnings() const {
  std::vector<std::string> lines;
  const auto say = [&](uint64_t packets, std::string_view what) {
    if (packets == 0) return;
    lines.push_back(fmt::format("{} packets of {} are left out: they belong to the kernel, to another process, or to a process "
                                "that is not known",
                                packets, what));
  };
  say(icmp_, "ICMP");
  say(other_protocols_, "protocols beside TCP, UDP and ICMP");
  return lines;
}

}  // namespace lookback::exporter
