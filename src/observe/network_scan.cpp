#include "observe/network_scan.hpp"

#include <linux/if_addr.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "lookback/base/netlink.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/thread.hpp"
#include "observe/proc_files.hpp"
#include "observe/read_as.hpp"

namespace lookback::observe {
namespace {

constexpr size_t kMostAddresses = 4096, kMostLinks = 65536;

using Addresses = std::vector<std::pair<uint32_t, std::string>>;  ///< by the interface's index

struct Link {
  uint32_t index = 0, master = 0;
  std::string name, kind;
  int32_t peer_nsid = -1;
  bool loopback = false;
};

void take_address(std::span<const std::byte> body, Addresses& found) {
  ifaddrmsg head;
  if (!read_as(body, head) || found.size() >= kMostAddresses) return;
  const bool v4 = head.ifa_family == AF_INET;
  const size_t length = v4 ? 4 : 16;
  Address address;
  each_netlink_attribute(
      body.subspan(sizeof head), [&](uint16_t type, std::span<const std::byte> value) {
        if (value.size() != length) return;
        // Of a point-to-point link IFA_ADDRESS is the other end's.
        if (type == IFA_LOCAL || (type == IFA_ADDRESS && address.family == 0))
          address = Address::make(v4 ? 4 : 6, reinterpret_cast<const uint8_t*>(value.data()));
      });
  if (address.family != 0) found.emplace_back(head.ifa_index, address.text());
}

Result<Addresses> list_addresses(const Fd& route) {
  Addresses found;
  ifaddrmsg request{};
  TRY(netlink_dump(route, RTM_GETADDR, std::as_bytes(std::span(&request, 1)), "addresses",
                   [&](uint16_t type, std::span<const std::byte> body) -> Result<> {
                     if (type == RTM_NEWADDR) take_address(body, found);
                     return {};
                   }));
  return found;
}

void take_link(std::span<const std::byte> body, std::vector<Link>& found) {
  ifinfomsg head;
  if (!read_as(body, head) || found.size() >= kMostLinks) return;
  Link link;
  link.index = static_cast<uint32_t>(head.ifi_index);
  link.loopback = (head.ifi_flags & IFF_LOOPBACK) != 0;
  const auto text_of = [](std::span<const std::byte> value) {
    const auto* text = reinterpret_cast<const char*>(value.data());
    return std::string(text, strnlen(text, value.size()));
  };
  each_netlink_attribute(
      body.subspan(sizeof head), [&](uint16_t type, std::span<const std::byte> value) {
        if (type == IFLA_IFNAME) link.name = name_to_text(text_of(value));
        if (type == IFLA_MASTER) (void)read_as(value, link.master);
        if (type == IFLA_LINK_NETNSID) (void)read_as(value, link.peer_nsid);
        if (type != IFLA_LINKINFO) return;
        each_netlink_attribute(value, [&](uint16_t inner, std::span<const std::byte> kind) {
          if (inner == IFLA_INFO_KIND) link.kind = text_of(kind);
        });
      });
  // Of others this names where the interface below them is, which is not an end of theirs.
  if (link.kind != "veth" && link.kind != "netkit") link.peer_nsid = -1;
  found.push_back(std::move(link));
}

Result<std::vector<Link>> list_links(const Fd& route) {
  std::vector<Link> found;
  ifinfomsg request{};
  TRY(netlink_dump(route, RTM_GETLINK, std::as_bytes(std::span(&request, 1)), "interfaces",
                   [&](uint16_t type, std::span<const std::byte> body) -> Result<> {
                     if (type == RTM_NEWLINK) take_link(body, found);
                     return {};
                   }));
  return found;
}

/// The number that the socket's namespace knows another one by; -1: none.
int32_t nsid_of(const Fd& route, const Fd& space) {
  struct {
    nlmsghdr head;
    rtgenmsg message;
    std::array<uint8_t, 3> padding;
    rtattr attribute;
    int32_t fd;
  } request{};
  static_assert(sizeof request == NLMSG_LENGTH(4) + RTA_LENGTH(sizeof(int32_t)));
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = RTM_GETNSID;
  request.head.nlmsg_flags = NLM_F_REQUEST;
  request.attribute.rta_type = NETNSA_FD;
  request.attribute.rta_len = RTA_LENGTH(sizeof request.fd);
  request.fd = space.get();
  if (send(route.get(), &request, sizeof request, 0) < 0) return -1;
  std::array<std::byte, 1024> buffer;
  const ssize_t length = recv(route.get(), buffer.data(), buffer.size(), 0);
  if (length <= 0) return -1;
  int32_t nsid = -1;
  const auto answer = each_netlink_message(
      std::span(buffer).first(static_cast<size_t>(length)), "a namespace's number",
      [&](uint16_t type, std::span<const std::byte> body) -> Result<> {
        if (type != RTM_NEWNSID || body.size() < 4) return {};
        each_netlink_attribute(body.subspan(4),
                               [&](uint16_t attribute, std::span<const std::byte> value) {
                                 if (attribute == NETNSA_NSID) (void)read_as(value, nsid);
                               });
        return {};
      });
  return answer ? nsid : -1;
}

std::string joined(const Addresses& addresses, uint32_t index, uint32_t master) {
  std::string text;
  for (const auto& [of, address] : addresses)
    if (index == 0 || of == index || (master != 0 && of == master))
      text += (text.empty() ? "" : " ") + address;
  return text;
}

/// The namespace that the calling thread is in.
Result<> scan_own(const std::map<uint32_t, Fd>& spaces, uint32_t own, const Addresses& addresses,
                  NetworkScan& result) {
  TRY_ASSIGN(const Fd route, open_netlink(NETLINK_ROUTE));
  TRY_ASSIGN(const auto links, list_links(route));
  std::map<int32_t, uint32_t> netns_of;
  for (const auto& [netns, space] : spaces)
    if (const int32_t nsid = nsid_of(route, space); nsid >= 0) netns_of.emplace(nsid, netns);
  for (const Link& link : links) {
    Event event;
    event.kind = Kind::interface;
    event.netns = own;
    event.interface = link.index;
    event.name = link.name;
    event.loopback = link.loopback;
    if (const auto peer = netns_of.find(link.peer_nsid); peer != netns_of.end())
      event.peer_netns = peer->second;
    event.text = joined(addresses, link.index, link.master);
    result.interfaces.push_back(std::move(event));
  }
  return {};
}

Result<Addresses> addresses_of(const Fd& space) {
  if (setns(space.get(), CLONE_NEWNET) != 0)
    return fail_errno(errno, "entering its network namespace");
  TRY_ASSIGN(const Fd route, open_netlink(NETLINK_ROUTE));
  return list_addresses(route);
}

void scan(NetworkScan& result) {
  auto spaces = open_network_namespaces(list_processes());
  for (const char* folder : {"/run/netns", "/run/docker/netns"})
    open_named_namespaces(folder, spaces);
  struct stat info {};
  const uint32_t own =
      stat("/proc/thread-self/ns/net", &info) == 0 ? static_cast<uint32_t>(info.st_ino) : 0;
  const auto add = [&](uint32_t netns, const Addresses& addresses) {
    Event event;
    event.kind = Kind::network;
    event.netns = netns;
    event.recorder = netns == own;
    event.text = joined(addresses, 0, 0);
    result.networks.push_back(std::move(event));
  };
  const auto try_own = [&]() -> Result<> {
    TRY_ASSIGN(const Fd route, open_netlink(NETLINK_ROUTE));
    TRY_ASSIGN(const Addresses addresses, list_addresses(route));
    add(own, addresses);
    return scan_own(spaces, own, addresses, result);
  };
  if (auto done = try_own(); !done)
    result.problems.push_back("network interfaces: " + done.error().message);
  for (const auto& [netns, space] : spaces) {
    if (netns == own) continue;
    if (const auto addresses = addresses_of(space)) {
      add(netns, *addresses);
    } else {
      result.problems.push_back(
          fmt::format("addresses of network namespace {}: {}", netns, addresses.error().message));
    }
  }
}

}  // namespace

NetworkScan scan_networks() {
  NetworkScan result;
  if (!run_apart([&] { scan(result); }))
    result.problems.push_back("network interfaces: the system gives no thread to look for them");
  return result;
}

Result<NetworkWatch> NetworkWatch::open() {
  TRY_ASSIGN(Fd fd,
             open_netlink(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR));
  const int on = 1;
  // Refused without CAP_NET_BROADCAST: other namespaces are looked at from time to time all the
  // same.
  (void)setsockopt(fd.get(), SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &on, sizeof on);
  return NetworkWatch(std::move(fd));
}

bool NetworkWatch::changed() {
  bool any = false;
  for (std::array<std::byte, 8192> buffer;;) {
    const ssize_t length = recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno != ENOBUFS) return any;
    any = true;  // with ENOBUFS messages were lost: there were some
  }
}

}  // namespace lookback::observe
