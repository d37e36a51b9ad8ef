#pragma once
// Packets → one member of an archive: a pcapng section of its own, cut into compressed frames at block boundaries. What a node
// sends and what an import writes come from here.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lookback/archive/member.hpp"
#include "lookback/packet/limits.hpp"
#include "lookback/packet/packet.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

/// Content of a frame: cut before the packet that would pass it.
inline constexpr uint64_t kMemberFrameBytes = 1 << 20;
/// Content at which callers end a member; what they add behind it is still taken.
inline constexpr uint64_t kMemberBytes = 8 << 20;
/// The longest captured length that is kept of a packet; what is beyond is cut off, like by a snap length.
inline constexpr uint64_t kMaxPacketBytes = packet::kMaxCapturedBytes;

/// Collects packets in the order they come. The same packets give the same bytes. Memory: the member's content, which is kept for
/// the next one, and the compressed member. One thread.
class MemberBuilder {
 public:
  /// Every interface is described in front of the packets, as "node NAME"; where there are so many that a frame does not hold
  /// them, in frames of their own. `application` is named as the file's writer.
  MemberBuilder(std::string node_name, std::vector<packet::Interface> interfaces, std::string application);
  ~MemberBuilder();
  MemberBuilder(MemberBuilder&&) noexcept;
  MemberBuilder& operator=(MemberBuilder&&) noexcept;

  /// Room for so much content, taken at once: one that grows holds it twice for a moment.
  void reserve(uint64_t content_bytes);
  /// Those given before, and further ones: for who learns of interfaces as packets come. Describes them all the same in front.
  void set_interfaces(std::vector<packet::Interface> interfaces);
  /// One more, with how many of its name and link type stand before it.
  void add_interface(packet::Interface interface, uint32_t same_name);
  /// `packet.interface` indexes the interfaces given. Times before 1970 are taken as 1970, as pcapng cannot say them.
  void add(const packet::PacketView& packet) { add(packet, {}, nullptr); }
  /// The same with options as packet::write_packet() takes them, and a process that the packet bears (null: none).
  void add(const packet::PacketView& packet, std::span<const std::byte> options, const packet::PcapngProcess* process);
  /// Content so far, the section's header and interfaces included.
  [[nodiscard]] uint64_t content_bytes() const;
  /// Content of the packets alone.
  [[nodiscard]] uint64_t packet_bytes() const;
  [[nodiscard]] uint64_t packets() const;
  /// Ends the member: frames with bounds and summaries, SHA-256, sums. The builder then starts the next one of the same interfaces.
  [[nodiscard]] archive::MemberContent finish();
  /// Forgets what was added, and the interfaces.
  void clear();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lookback::exporter
