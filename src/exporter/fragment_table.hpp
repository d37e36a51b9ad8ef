#pragma once
// Which flow the fragments of a datagram belong to: only the first of them has the ports (RFC 791
// 3.2, RFC 8200 4.5). It may come behind the others.

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "exporter/packet_digest.hpp"

namespace lookback::exporter {

/// Memory is bounded by `most_datagrams`. One thread.
class FragmentTable {
 public:
  static constexpr size_t kMostDatagrams = 65'536;
  /// Fragments further apart belong to different datagrams: hosts wait this long at most (RFC 8200
  /// 4.5).
  static constexpr int64_t kReassemblyNs = 60'000'000'000;

  explicit FragmentTable(size_t most_datagrams = kMostDatagrams);

  /// The first fragment of a datagram, as it was seen on an interface of the output.
  void learn(const PacketDigest& first, const Fragment& fragment, uint32_t interface,
             int64_t time_ns);
  /// Gives a later fragment the ends, ports and protocol of its datagram; false where the first
  /// fragment is not known.
  [[nodiscard]] bool resolve(PacketDigest& later, const Fragment& fragment, uint32_t interface,
                             int64_t time_ns) const;

  /// Datagrams that were forgotten while fragments of them might still come.
  [[nodiscard]] uint64_t evictions() const { return evictions_; }
  [[nodiscard]] size_t datagrams() const { return datagrams_.size(); }

 private:
  struct Key {
    FragmentKey fragment;
    uint64_t network;
    uint32_t interface, ifindex;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
    uint64_t secret;
  };
  /// What later fragments take over.
  struct First {
    int64_t time_ns;
    packet::IpAddress source, destination;
    uint64_t network;
    uint16_t source_port, destination_port;
    uint16_t echo_id;
    Echo echo;
    uint8_t protocol;
  };
  [[nodiscard]] static Key key_of(const Fragment& fragment, uint32_t interface);

  const size_t most_datagrams_;
  /// Identifications are used again: those of one key by their time, a few at most.
  std::unordered_map<Key, std::vector<First>, KeyHash> datagrams_;
  std::deque<Key> learned_;  ///< oldest first
  uint64_t evictions_ = 0;
};

}  // namespace lookback::exporter
