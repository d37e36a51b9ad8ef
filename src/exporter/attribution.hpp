#pragma once
// Whose packets they are: reads the OS events of each node beside its packets, a little ahead of
// them, and answers for each packet who had the sockets at its ends.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "exporter/flow_table.hpp"
#include "exporter/packet_digest.hpp"
#include "exporter/plan.hpp"
#include "lookback/context/owners.hpp"

namespace lookback::exporter {

/// Who is known at the ends of a packet, on the node that recorded it; null where nobody is. Good
/// until the next question.
struct PacketOwners {
  const context::Owner* sender = nullptr;
  const context::Owner* receiver = nullptr;
  /// Null where neither is known: whether this flow's owners were told already; for the asker to
  /// set.
  bool* told = nullptr;

  /// The option and the columns of tools have room for one.
  [[nodiscard]] const context::Owner* one() const { return sender != nullptr ? sender : receiver; }
};

/// One thread. Packets come by time; the same one may come several times in a row.
class Attribution {
 public:
  Attribution(const Plan& plan, const archive::ArchiveReader& archive);
  ~Attribution();
  Attribution(const Attribution&) = delete;
  Attribution& operator=(const Attribution&) = delete;

  /// Some node has OS events.
  [[nodiscard]] bool any() const;
  [[nodiscard]] bool knows(uint32_t node) const;
  /// An error is one of reading the archive.
  [[nodiscard]] Result<PacketOwners> of(uint32_t node, uint32_t interface,
                                        const PacketDigest& packet, int64_t time_ns);
  /// What was found wanting, one line each.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  class NodeEvents;
  struct Flow {
    std::shared_ptr<const context::Socket> sockets[2];  ///< of the low and the high end
    uint64_t version = 0;                               ///< of the table when they were looked for
    int64_t first_ns = 0, looked_ns = 0;
    uint32_t initial = 0;
    bool opened = false;  ///< its SYN was seen, with `initial`
    bool told = false;
  };

  void look(NodeEvents& events, Flow& flow, const FlowKey& key, unsigned end, int64_t time_ns);

  std::vector<std::unique_ptr<NodeEvents>> nodes_;  ///< null: has none
  std::vector<std::string> names_;
  FlowIndex index_;
  std::vector<Flow> flows_;
};

/// "nginx (pid 12, uid 33) in container web (docker 0123456789ab)"
[[nodiscard]] std::string describe(const context::Owner& owner);
/// "web", or the short id where the container has no name.
[[nodiscard]] std::string container_name(const context::Container& container);

}  // namespace lookback::exporter
