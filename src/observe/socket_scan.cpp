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

#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>

#include "lookback/base/fd.hpp"
#include "observe/proc_files.hpp"

namespace lookback::observe {
namespace {

constexpr size_t kMostSockets = 1'000'000;
constexpr size_t kReceiveBytes = 64 << 10;
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

Result<> dump(int socket, uint8_t family, uint8_t protocol, uint32_t netns,
              std::vector<DiagSocket>& out) {
  struct {
    nlmsghdr head;
    inet_diag_req_v2 request;
  } message{};
  message.head.nlmsg_len = sizeof message;
  message.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = family;
  message.request.sdiag_protocol = protocol;
  message.request.idiag_states = ~(1u << kTimeWait | 1u << kSynRecv);
  if (send(socket, &message, sizeof message, 0) < 0) return fail_errno(errno, "sock_diag");
  std::vector<std::byte> buffer(kReceiveBytes);
  for (;;) {
    const ssize_t length = recv(socket, buffer.data(), buffer.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return fail_errno(errno, "sock_diag");
    TRY_ASSIGN(const bool done, parse_diag(std::span(buffer).first(static_cast<size_t>(length)),
                                           protocol, netns, out));
    if (done || out.size() > kMostSockets) return {};
  }
}

Result<> scan_namespace(const Fd& space, uint32_t netns, std::vector<DiagSocket>& out) {
  if (setns(space.get(), CLONE_NEWNET) != 0)
    return fail_errno(errno, "entering its network namespace");
  const Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket) return fail_errno(errno, "sock_diag");
  for (const uint8_t protocol : {kProtocolTcp, kProtocolUdp})
    for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}})
      // A kernel may lack the module for one of them; then it has no such sockets.
      if (auto dumped = dump(socket.get(), family, protocol, netns, out);
          !dumped && dumped.error().kind != ErrorKind::not_found)
        return dumped;
  return {};
}

}  // namespace

Result<bool> parse_diag(std::span<const std::byte> bytes, uint8_t protocol, uint32_t netns,
                        std::vector<DiagSocket>& out) {
  while (bytes.size() >= sizeof(nlmsghdr)) {
    nlmsghdr head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > bytes.size())
      return fail(ErrorKind::corrupt, "sock_diag: a message's length is wrong");
    const auto body = bytes.subspan(sizeof head, head.nlmsg_len - sizeof head);
    if (head.nlmsg_type == NLMSG_DONE) return true;
    if (head.nlmsg_type == NLMSG_ERROR) {
      int error = 0;
      if (body.size() >= sizeof error) std::memcpy(&error, body.data(), sizeof error);
      return fail_errno(-error, "sock_diag");
    }
    if (head.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
      inet_diag_msg diag;
      if (body.size() < sizeof diag)
        return fail(ErrorKind::corrupt, "sock_diag: a message ends early");
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
      const auto remote =
          Address::make(family, reinterpret_cast<const uint8_t*>(diag.id.idiag_dst));
      event.remote_port = ntohs(diag.id.idiag_dport);
      if (event.remote_port != 0 || !remote.any()) event.remote = remote;
      if (event.local_port != 0) out.push_back(std::move(found));
    }
    const size_t step = NLMSG_ALIGN(head.nlmsg_len);
    bytes = bytes.subspan(std::min(step, bytes.size()));
  }
  return false;
}

SocketScan scan_sockets() {
  SocketScan result;
  auto pids = list_processes();
  std::map<uint32_t, Fd> spaces;
  for (const uint32_t pid : pids) {
    const std::string path = fmt::format("/proc/{}/ns/net", pid);
    struct stat info {};
    if (stat(path.c_str(), &info) != 0 || spaces.count(static_cast<uint32_t>(info.st_ino)) != 0)
      continue;
    if (auto space = open_file(path, O_RDONLY))
      spaces.emplace(static_cast<uint32_t>(info.st_ino), std::move(*space));
  }
  std::vector<DiagSocket> found;
  // A thread of its own: it leaves this process's namespace for good.
  std::thread([&] {
    for (const auto& [netns, space] : spaces)
      if (auto scanned = scan_namespace(space, netns, found); !scanned)
        result.problems.push_back(
            fmt::format("sockets of network namespace {}: {}", netns, scanned.error().message));
  }).join();
  const auto owners = socket_owners(pids);
  for (auto& one : found) {
    if (const auto owner = owners.find(one.inode); one.inode != 0 && owner != owners.end())
      one.event.pid = owner->second;
    result.sockets.push_back(std::move(one.event));
  }
  return result;
}

}  // namespace lookback::observe
