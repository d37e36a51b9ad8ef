#include "observe/socket_scan.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "lookback/base/fd.hpp"
#include "lookback/base/netlink.hpp"
#include "lookback/base/thread.hpp"
#include "observe/live_table.hpp"
#include "observe/proc_files.hpp"

namespace lookback::observe {
namespace {

constexpr size_t kMostSockets = 1'000'000;
constexpr std::string_view kWhat = "sock_diag";
constexpr uint8_t kTimeWait = 6, kSynRecv = 3;

/// Inode of the socket's file to the process that has it: the first by number, which of a family is
/// the parent mostly.
std::unordered_map<uint32_t, uint32_t> socket_owners(const std::vector<uint32_t>& pids) {
  constexpr std::string_view kPrefix = "socket:[";
  std::unordered_map<uint32_t, uint32_t> owners;
  for (const uint32_t pid : pids) {
    const std::string path = fmt::format("/proc/{}/fd", pid);
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), closedir);
    if (!folder) continue;
    while (const dirent* entry = readdir(folder.get())) {
      char target[64];
      const ssize_t length = readlinkat(dirfd(folder.get()), entry->d_name, target, sizeof target);
      if (length <= 0) continue;
      std::string_view text(target, static_cast<size_t>(length));
      if (!text.starts_with(kPrefix)) continue;
      text.remove_prefix(kPrefix.size());
      uint32_t inode = 0;
      std::from_chars(text.data(), text.data() + text.size(), inode);
      owners.emplace(inode, pid);
    }
  }
  return owners;
}

/// Whether a message's attributes say that a socket is for IPv6 alone. The kernel says it of those
/// that listen or are not connected.
bool is_v6only(std::span<const std::byte> attributes) {
  while (attributes.size() >= sizeof(nlattr)) {
    nlattr head;
    std::memcpy(&head, attributes.data(), sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > attributes.size()) return false;
    if ((head.nla_type & NLA_TYPE_MASK) == INET_DIAG_SKV6ONLY && head.nla_len > sizeof head)
      return attributes[sizeof head] != std::byte{0};
    attributes = attributes.subspan(std::min<size_t>(NLA_ALIGN(head.nla_len), attributes.size()));
  }
  return false;
}

Result<> take_diag(uint16_t type, std::span<const std::byte> body, uint8_t protocol, uint32_t netns,
                   std::vector<DiagSocket>& out) {
  if (type != SOCK_DIAG_BY_FAMILY || out.size() >= kMostSockets) return {};
  inet_diag_msg diag;
  if (body.size() < sizeof diag) return fail(ErrorKind::corrupt, "{}: a message ends early", kWhat);
  std::memcpy(&diag, body.data(), sizeof diag);
  DiagSocket found;
  found.inode = diag.idiag_inode;
  Event& event = found.event;
  event.kind = Kind::socket;
  event.protocol = protocol;
  event.netns = netns;
  event.uid = diag.idiag_uid;
  event.state = diag.idiag_state;
  event.socket = static_cast<uint64_t>(diag.id.idiag_cookie[1]) << 32 | diag.id.idiag_cookie[0];
  const uint8_t family = diag.idiag_family == AF_INET6 ? 6 : 4;
  event.local = Address::make(family, reinterpret_cast<const uint8_t*>(diag.id.idiag_src));
  event.local_port = ntohs(diag.id.idiag_sport);
  const auto remote = Address::make(family, reinterpret_cast<const uint8_t*>(diag.id.idiag_dst));
  event.remote_port = ntohs(diag.id.idiag_dport);
  if (event.remote_port != 0 || !remote.any()) event.remote = remote;
  if (family == 6 && event.local.any()) event.v6only = is_v6only(body.subspan(sizeof diag));
  if (event.local_port != 0) out.push_back(std::move(found));
  return {};
}

Result<> dump(const Fd& socket, uint8_t family, uint8_t protocol, uint32_t netns,
              std::vector<DiagSocket>& out) {
  inet_diag_req_v2 request{};
  request.sdiag_family = family;
  request.sdiag_protocol = protocol;
  request.idiag_states = ~(1u << kTimeWait | 1u << kSynRecv);
  return netlink_dump(socket, SOCK_DIAG_BY_FAMILY, std::as_bytes(std::span(&request, 1)), kWhat,
                      [&](uint16_t type, std::span<const std::byte> body) {
                        return take_diag(type, body, protocol, netns, out);
                      });
}

Result<> scan_namespace(const Fd& space, uint32_t netns, std::vector<DiagSocket>& out) {
  if (setns(space.get(), CLONE_NEWNET) != 0)
    return fail_errno(errno, "entering its network namespace");
  TRY_ASSIGN(const Fd socket, open_netlink(NETLINK_SOCK_DIAG));
  for (const uint8_t protocol : {kProtocolTcp, kProtocolUdp})
    for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}})
      // A kernel may lack the module for one of them; then it has no such sockets.
      if (auto dumped = dump(socket, family, protocol, netns, out);
          !dumped && dumped.error().kind != ErrorKind::not_found)
        return dumped;
  return {};
}

}  // namespace

Result<bool> parse_diag(std::span<const std::byte> bytes, uint8_t protocol, uint32_t netns,
                        std::vector<DiagSocket>& out) {
  return each_netlink_message(bytes, kWhat, [&](uint16_t type, std::span<const std::byte> body) {
    return take_diag(type, body, protocol, netns, out);
  });
}

std::vector<uint32_t> owners_of(const std::vector<Event>& sockets,
                                const std::vector<uint32_t>& pids) {
  std::unordered_set<uint32_t> wanted;
  for (const Event& socket : sockets) wanted.insert(socket.netns);
  const auto spaces = open_network_namespaces(pids);
  std::vector<DiagSocket> found;
  const bool scanned = run_apart([&] {
    for (const auto& [netns, space] : spaces)
      if (wanted.contains(netns))
        (void)scan_namespace(space, netns, found);  // what is found counts
  });
  if (!scanned) return std::vector<uint32_t>(sockets.size(), 0);
  std::unordered_map<Ends, uint32_t, EndsHash> inodes;
  for (const DiagSocket& one : found) inodes.emplace(Ends::of(one.event), one.inode);
  const auto owners = socket_owners(pids);
  std::vector<uint32_t> result;
  for (const Event& socket : sockets) {
    const auto inode = inodes.find(Ends::of(socket));
    const auto owner = inode == inodes.end() ? owners.end() : owners.find(inode->second);
    result.push_back(owner == owners.end() || owner->first == 0 ? 0 : owner->second);
  }
  return result;
}

SocketScan scan_sockets() {
  SocketScan result;
  const auto pids = list_processes();
  const auto spaces = open_network_namespaces(pids);
  std::vector<DiagSocket> found;
  const bool apart = run_apart([&] {
    for (const auto& [netns, space] : spaces)
      if (auto scanned = scan_namespace(space, netns, found); !scanned)
        result.problems.push_back(
            fmt::format("sockets of network namespace {}: {}", netns, scanned.error().message));
  });
  if (found.size() >= kMostSockets)
    result.problems.push_back(
        fmt::format("sockets: there are more than the {} that are looked at", kMostSockets));
  if (!apart) result.problems.push_back("sockets: the system gives no thread to look for them");
  const auto owners = socket_owners(pids);
  for (auto& one : found) {
    if (const auto owner = owners.find(one.inode); one.inode != 0 && owner != owners.end())
      one.event.pid = owner->second;
    result.sockets.push_back(std::move(one.event));
  }
  return result;
}

}  // namespace lookback::observe
