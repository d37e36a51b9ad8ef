#pragma once
// Who owned which socket of a node at which time: built from its OS events, asked about packets.

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lookback/context/record.hpp"

namespace lookback::context {

struct Container {
  std::string id, runtime, name, image, pod_uid;
};

/// A process as it was when it used a socket. Never changes.
struct Owner {
  uint32_t pid = 0, tid = 0;
  std::optional<uint32_t> uid;
  std::string comm;                            ///< as ps(1) calls it
  std::string exe;                             ///< may be empty
  std::shared_ptr<const Container> container;  ///< null: none
};

/// What a process was over its life, as programs and containers go: beginning with when it became
/// so.
using ProcessHistory = std::vector<std::pair<int64_t, std::shared_ptr<const Owner>>>;

/// A socket over its life. Owners are added as they become known.
class Socket {
 public:
  /// Null where nobody is known to have had it then.
  [[nodiscard]] const Owner* owner_at(int64_t time_ns) const;
  /// The same, and from when until when that is the answer, as far as is known by now.
  [[nodiscard]] const Owner* owner_at(int64_t time_ns, int64_t& from_ns, int64_t& until_ns) const;
  [[nodiscard]] int64_t from_ns() const { return from_ns_; }
  /// INT64_MAX while it is open.
  [[nodiscard]] int64_t to_ns() const { return to_ns_; }

 private:
  friend class OwnerTable;
  struct Possession {
    int64_t from_ns;
    int64_t told_ns;                                ///< when `owner` was as it says
    std::shared_ptr<const Owner> owner;
    std::shared_ptr<const ProcessHistory> history;  ///< what became of it; null: not known
  };
  struct Ends {
    /// "Any" of IPv4 is 0.0.0.0 as an IPv4-mapped address, of IPv6 all zeros.
    Address local{}, remote{};
    uint16_t local_port = 0, remote_port = 0;
    uint8_t protocol = 0;
    friend bool operator==(const Ends&, const Ends&) = default;
  };
  uint64_t id_ = 0, netns_ = 0, generation_ = 0;
  Ends ends_;
  bool server_ = false, client_ = false, listening_ = false, v6only_ = false;
  int64_t from_ns_ = 0, to_ns_ = INT64_MAX;
  std::vector<Possession> possessions_;  ///< by time
  std::list<Socket*>::iterator open_;    ///< its place among the open ones
};

/// One end of a packet: the socket that it is looked for is the one at `local`. Of an echo of ICMP both ports are its identifier, and
/// only the end that asks has a socket; of other protocols without ports they are 0.
struct Query {
  uint8_t protocol = 0;
  Address local{}, remote{};
  uint16_t local_port = 0, remote_port = 0;
  int64_t time_ns = 0;
  /// The packet opens a connection: what was there before is not meant.
  bool opens = false;
  uint64_t netns = 0;  ///< 0: any
  /// Where the packet was recorded; empty: not known.
  std::string_view interface;
};

/// The work is linear in the events, whatever they say. Events go in by time, and must be ahead of the questions by what a process may take to accept a
/// connection; questions about what is long over find nothing. One thread.
///
/// Bounded: sockets closed kKeptNs ago are forgotten, and of open ones the table holds
/// kMostSockets. Of owners, programs and containers it holds kMostBytes; who finds no room is not named.
///
/// Sockets of several network namespaces may have the same ends. On a loopback interface only its
/// own namespace's are meant. At one end of a veth pair those of the other end's namespace are; on
/// an interface that has the address, or whose bridge has it, its own namespace's are. Where that
/// does not settle it there is no answer rather than a wrong one. Nor is there one where several
/// processes have sockets of the same ends at once (SO_REUSEPORT): the kernel gives a packet to any
/// of them. A connection that was accepted has ends of its own, and its owner.
class OwnerTable {
 public:
  static constexpr int64_t kKeptNs = 150'000'000'000;  ///< longer than TIME_WAIT lasts
  static constexpr size_t kMostSockets = 300'000, kMostProcesses = 200'000, kMostCgroups = 100'000,
                          kMostNetworks = 10'000;
  /// Sockets of the same ends, and times that a process became another program and a socket changed
  /// hands: what is older goes.
  static constexpr size_t kMostSameEnds = 256, kMostChanges = 4096;
  static constexpr uint64_t kMostBytes = 256 << 20;

  void apply(const Record& record);
  /// Null where no socket is known, or several are.
  [[nodiscard]] std::shared_ptr<const Socket> find(const Query& query);
  /// Whether the end that is asked about serves: its socket, if find() gave one, was accepted or
  /// listens, or, where nothing tells how it began, somebody listens on its address and port.
  [[nodiscard]] bool serves(const Query& query, const Socket* socket) const;

  /// Grows whenever a find() may have another outcome than before.
  [[nodiscard]] uint64_t version() const { return version_; }
  [[nodiscard]] size_t sockets() const { return by_id_.size(); }
  [[nodiscard]] uint64_t ambiguous() const { return ambiguous_; }
  /// Sockets, processes, owners and containers that found no room.
  [[nodiscard]] uint64_t refused() const { return refused_; }
  [[nodiscard]] uint64_t held_bytes() const { return *held_; }
  [[nodiscard]] uint64_t events_lost() const { return events_lost_; }

 private:
  using SocketPtr = std::shared_ptr<Socket>;
  /// Bytes of what is kept, given back with this. Any thread: what is kept may outlive the table.
  class Held {
   public:
    Held() = default;
    Held(std::shared_ptr<std::atomic<uint64_t>> sum, uint64_t bytes);
    Held(Held&& other) noexcept;
    Held& operator=(Held&& other) noexcept;
    ~Held();

   private:
    std::shared_ptr<std::atomic<uint64_t>> sum_;
    uint64_t bytes_ = 0;
  };
  struct Process {
    Held held;
    std::string comm, exe;
    uint64_t cgroup = 0;
    std::optional<uint32_t> uid;
    bool ended = false;
    std::shared_ptr<ProcessHistory> history = std::make_shared<ProcessHistory>();
  };
  /// Sockets with the same ends.
  struct Group {
    std::vector<SocketPtr> sockets;
    bool crowded = false;  ///< there are more
  };
  struct EndsHash {
    size_t operator()(const Socket::Ends& ends) const;
    uint64_t secret;
  };

  struct Addresses {
    Held held;
    std::vector<Address> sorted;
  };
  struct Interface {
    Addresses addresses;
    uint64_t netns = 0, peer_netns = 0;
    bool loopback = false;
  };

  void checkpoint(const Record& record);
  void network(const Record& record);
  void interface(const Record& record);
  void close_unseen(int64_t time_ns);
  void process(const Record& record);
  void change(uint32_t pid, Process& process, int64_t time_ns);
  void socket(const Record& record);
  [[nodiscard]] SocketPtr make_socket(const Record& record);
  void close(Socket& socket, int64_t time_ns, int64_t to_ns);
  void own(Socket& socket, const Record& record, int64_t from_ns);
  void forget_old(int64_t now_ns);
  void forget(const SocketPtr& socket);
  /// Nothing where there is no room for so many bytes.
  [[nodiscard]] std::optional<Held> hold(uint64_t bytes);
  /// Null where there is no room.
  template <typename T>
  [[nodiscard]] std::shared_ptr<const T> keep(T value, uint64_t bytes);
  [[nodiscard]] std::shared_ptr<const Owner> keep_owner(Owner owner);
  [[nodiscard]] std::shared_ptr<const Owner> owner_of(const Record& record);
  [[nodiscard]] std::shared_ptr<const Container> container_of(uint64_t cgroup) const;
  [[nodiscard]] bool has_address(uint64_t netns, const Address& address) const;
  struct Choice {
    SocketPtr socket;
    bool several = false;  ///< of different namespaces, or of different processes at once
  };
  [[nodiscard]] static Choice nearest(const std::vector<SocketPtr>& sockets, const Query& query);
  [[nodiscard]] SocketPtr choose(const std::vector<SocketPtr>& sockets, const Query& query);

  std::shared_ptr<std::atomic<uint64_t>> held_ = std::make_shared<std::atomic<uint64_t>>(0);
  std::unordered_map<uint64_t, std::shared_ptr<const Container>> containers_;  ///< by cgroup
  std::unordered_map<uint32_t, Process> processes_;
  std::unordered_map<uint64_t, Addresses> addresses_;      ///< by network namespace
  std::unordered_map<std::string, Interface> interfaces_;         ///< by name
  std::deque<std::pair<int64_t, uint32_t>> ended_processes_;
  std::unordered_map<uint64_t, SocketPtr> by_id_;
  std::unordered_map<Socket::Ends, Group, EndsHash> by_ends_{16, make_hash()};
  std::list<Socket*> open_;  ///< those told of longest ago first
  std::deque<std::pair<int64_t, SocketPtr>> closed_;
  uint64_t generation_ = 0, state_sockets_left_ = 0;
  uint64_t version_ = 0, ambiguous_ = 0, refused_ = 0, events_lost_ = 0;

  [[nodiscard]] static EndsHash make_hash();
};

}  // namespace lookback::context
