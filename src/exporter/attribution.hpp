#pragma once
// Whose packets they are: reads the OS events of each node beside its packets, a little ahead of
// them, and answers for each packet who had the sockets at its ends.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "exporter/flow_key.hpp"
#include "exporter/packet_digest.hpp"
#include "exporter/plan.hpp"
#include "lookback/context/owners.hpp"

namespace lookback::exporter {

/// Who is known at the ends of a packet, on the node that recorded it; null where nobody is. Good
/// until the next question.
struct PacketOwners {
  const context::Owner* sender = nullptr;
  const context::Owner* receiver = nullptr;
  /// Whose socket listened, or was accepted from one that did.
  enum class Server : uint8_t { unknown, sender, receiver };
  Server server = Server::unknown;
  /// Null where neither is known: whether this flow's owners were told already; for the asker to
  /// set.
  bool* told = nullptr;

  /// Of the sender, or else the receiver, since tools have room for one; 0: neither is known. Here,
  /// since every packet needs them and the owners are far away in memory.
  uint32_t pid = 0, tid = 0;
  /// What the asker keeps about the process of `pid` in this flow, 0 at first. Null without `pid`.
  uint64_t* mark = nullptr;
};

/// One thread. Packets come by time; the same one may come several times in a row.
class Attribution {
 public:
  /// `cancelled` may be set by any thread, or be null.
  Attribution(const Plan& plan, const archive::ArchiveReader& archive,
              const std::atomic<bool>* cancelled);
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
    // Who has them, as long as the table is of that version and the time between these.
    const context::Owner* owners[2] = {nullptr, nullptr};
    bool serves[2] = {false, false};
    uint32_t pids[2] = {0, 0}, tids[2] = {0, 0};
    uint64_t marks[2] = {0, 0};  ///< of those owners
    uint64_t owners_version = 0;
    int64_t owners_from_ns = 0, owners_until_ns = 0;
    int64_t first_ns = 0, looked_ns = 0;
    uint32_t initial = 0;
    bool opened = false;  ///< its SYN was seen, with `initial`
    bool told = false;
  };

  static void find_owners(Flow& flow, uint64_t version, int64_t time_ns);
  void look(NodeEvents& events, Flow& flow, const FlowKey& key, unsigned end, int64_t time_ns);

  const Plan& plan_;
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
