#pragma once
// One line of an os-events member (lookback-archive(5), OS EVENTS), as far as ownership needs it.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::context {

/// IPv6, or IPv4 as an IPv4-mapped address.
using Address = std::array<uint8_t, 16>;

enum class Kind : uint8_t {
  other,  ///< known to others, or to later versions: nothing of it is read but the time
  checkpoint,
  cgroup,
  process,
  socket,
  fork,
  exec,
  move,
  exit,
  listen,
  connect,
  accept,
  udp,
  raw,
  owner,
  close,
  lost,
  network,
  interface,
};

struct Record {
  Kind kind = Kind::other;
  int64_t time_ns = 0;

  // checkpoint
  uint64_t sockets = 0, processes = 0;
  // cgroup; `cgroup` is its id here, elsewhere that of a process
  uint64_t cgroup = 0;
  std::string container, runtime, pod_uid, name, image;
  // processes, and owners of sockets; pid 0: not known
  uint32_t pid = 0, ppid = 0, tid = 0;
  std::optional<uint32_t> uid;
  std::string comm, exe;
  // sockets
  uint64_t socket = 0, netns = 0;
  uint8_t protocol = 0;
  Address local{}, remote{};
  /// Of a ping socket the identifier of its echoes (RFC 792); 0: a raw socket.
  uint16_t local_port = 0, remote_port = 0;
  bool has_remote = false;
  bool listening = false, server = false, client = false;
  bool v6only = false;  ///< bound to IPv6 alone
  bool first = false;  ///< owner since the socket's beginning
  std::optional<int64_t> opened_ns, ended_ns;
  // networks and interfaces; `name` is the interface's, `netns` whose it is
  uint64_t peer_netns = 0;
  bool loopback = false;
  std::vector<Address> addresses;
};

/// Longer texts are cut, and longer lines refused.
inline constexpr size_t kMaxText = 4096, kMaxLine = 1 << 20, kMaxAddresses = 4096;

/// Whether records of this kind tell of a socket.
[[nodiscard]] bool is_about_socket(Kind kind);

/// Kind corrupt for a line that is not as documented. Any bytes may come.
[[nodiscard]] Result<Record> parse_record(std::string_view line);

[[nodiscard]] std::optional<Address> parse_address(std::string_view text);

}  // namespace lookback::context
