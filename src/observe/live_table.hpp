#pragma once
// The processes, sockets and cgroups there are, kept by the events that change them: what a
// checkpoint says. The recorder keeps one as events come, a reader of segments another as it goes
// along.

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "lookback/observe/event.hpp"

namespace lookback::observe {

/// Namespace, protocol and both ends: one socket at a time has them, but for sockets that share a
/// port on purpose.
struct Ends {
  Address local, remote;
  uint32_t netns = 0;
  uint16_t local_port = 0, remote_port = 0;
  uint8_t protocol = 0;
  friend bool operator==(const Ends&, const Ends&) = default;
  [[nodiscard]] static Ends of(const Event& event) {
    return {event.local,      event.remote,      event.netns,
            event.local_port, event.remote_port, event.protocol};
  }
};
struct EndsHash {
  size_t operator()(const Ends& ends) const noexcept;
};

class LiveTable {
 public:
  /// A checkpoint forgets everything; what it is made of follows.
  void apply(const Event& event);

  [[nodiscard]] const Event* process(uint32_t pid) const { return find(processes_, pid); }
  [[nodiscard]] const Event* socket(uint64_t id) const { return find(sockets_, id); }
  [[nodiscard]] const Event* cgroup(uint64_t id) const { return find(cgroups_, id); }
  [[nodiscard]] const Event* network(uint32_t netns) const { return find(networks_, netns); }
  [[nodiscard]] const Event* interface(uint32_t index) const { return find(interfaces_, index); }
  [[nodiscard]] const Event* socket_at(const Ends& ends) const;
  /// Who listens for what comes to this end; 0: nobody known.
  [[nodiscard]] uint32_t listener_pid(const Event& connection) const;

  /// The checkpoint's line and its state, stamped with the time.
  void checkpoint(int64_t time_ns, const std::string& boot_id,
                  const std::function<void(const Event&)>& take) const;
  /// Drops cgroups that no process is in.
  void forget_unused_cgroups();
  [[nodiscard]] size_t processes() const { return processes_.size(); }
  [[nodiscard]] size_t sockets() const { return sockets_.size(); }
  /// Sockets beyond the bound, which are not kept.
  [[nodiscard]] uint64_t refused() const { return refused_; }
  void each_process(const std::function<void(const Event&)>& take) const;
  void each_socket(const std::function<void(const Event&)>& take) const;
  void erase_process(uint32_t pid) { processes_.erase(pid); }
  void erase_socket(uint64_t id);
  /// Networks and interfaces that are not among these.
  void keep_networks(const std::unordered_set<uint32_t>& networks,
                     const std::unordered_set<uint32_t>& interfaces);

 private:
  template <class Map>
  static const Event* find(const Map& map, typename Map::key_type key) {
    const auto it = map.find(key);
    return it == map.end() ? nullptr : &it->second;
  }
  void add_socket(const Event& event);
  void set_owner(const Event& event);

  std::unordered_map<uint32_t, Event> processes_;
  std::unordered_map<uint64_t, Event> sockets_;
  std::unordered_map<Ends, uint64_t, EndsHash> by_ends_;
  std::unordered_map<uint64_t, Event> cgroups_;
  std::unordered_map<uint32_t, Event> networks_, interfaces_;
  uint64_t refused_ = 0;
};

}  // namespace lookback::observe
