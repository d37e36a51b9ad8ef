#pragma once
// One thing that the operating system did, or one piece of its state: what the event FIFO keeps,
// and as lines of JSON what an archive holds (lookback-archive(5), "OS EVENTS").

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::observe {

/// On disk by these numbers.
enum class Kind : uint8_t {
  checkpoint = 1,
  cgroup = 2,
  process = 3,
  socket = 4,
  fork = 5,
  exec = 6,
  move = 7,
  exit = 8,
  listen = 9,
  connect = 10,
  accept = 11,
  udp = 12,
  owner = 13,
  close = 14,
  oom = 15,
  retransmit = 16,
  reset = 17,
  drop = 18,
  lost = 19,
  network = 20,
  interface = 21,
  raw = 22,
};
inline constexpr uint8_t kLastKind = 22;
[[nodiscard]] std::string_view to_string(Kind kind);

inline constexpr uint32_t kNoUid = 0xffffffff;
inline constexpr int32_t kNoCode = -1;
inline constexpr uint8_t kProtocolTcp = 6, kProtocolUdp = 17;

/// As the kernel numbers the states of a TCP socket.
namespace tcp_state {
inline constexpr uint8_t kEstablished = 1, kSynSent = 2, kListen = 10;
}
[[nodiscard]] std::string_view tcp_state_name(uint8_t state);  ///< "ESTABLISHED"; empty for none

struct Address {
  std::array<uint8_t, 16> bytes{};  ///< IPv4: the first four
  uint8_t family = 0;               ///< 4, 6; 0: none
  [[nodiscard]] bool any() const { return bytes == std::array<uint8_t, 16>{}; }
  /// IPv4 also where an IPv6 address stands for one (::ffff:a.b.c.d).
  [[nodiscard]] static Address make(uint8_t family, const uint8_t* bytes);
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Address&, const Address&) = default;
};

enum class Role : uint8_t { unknown = 0, client = 1, server = 2 };

/// What a kind does not have is at its default, which is not stored. The names are those of the
/// page.
struct Event {
  Kind kind = Kind::lost;
  int64_t time_ns = 0;

  uint32_t pid = 0, tid = 0, ppid = 0, uid = kNoUid;
  std::string comm;
  uint64_t cgroup = 0;
  int64_t start_ns = 0;
  std::string exe;
  std::string argv;  ///< each argument with a zero behind it
  bool argv_cut = false;
  int32_t exit_code = kNoCode, signal = 0;

  uint64_t socket = 0;
  uint8_t protocol = 0, state = 0;
  Role role = Role::unknown;
  bool first = false, sent_reset = false, has_bytes = false;
  bool v6only = false;  ///< a socket for any address, but of IPv6 alone
  uint16_t local_port = 0, remote_port = 0;
  uint32_t netns = 0;
  Address local, remote;
  int64_t opened_ns = 0, ended_ns = 0;
  uint64_t sent_bytes = 0, received_bytes = 0;
  uint32_t listener_pid = 0;

  uint32_t interface = 0, peer_netns = 0;
  bool recorder = false;  ///< a network namespace: the one that packets are recorded in
  bool loopback = false;
  uint64_t count = 0;
  int64_t from_ns = 0;
  /// Reason of drop and lost, path of a cgroup, boot id of a checkpoint; addresses of a network or
  /// an interface, parted by spaces.
  std::string text;
  std::string container, runtime, pod_uid, name, image;
  uint64_t cgroups = 0, processes = 0, sockets = 0;

  friend bool operator==(const Event&, const Event&) = default;
};

/// Binary form, appended. Fields that a reader does not know are passed over.
void encode_event(const Event& event, std::string& out);
/// corrupt: it does not parse.
[[nodiscard]] Result<Event> decode_event(std::span<const std::byte> bytes);

/// One line of JSON with its line feed, appended.
void append_json(const Event& event, std::string& out);

}  // namespace lookback::observe
