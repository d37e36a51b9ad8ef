#include "capture/interface_table.hpp"

#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "lookback/base/clock.hpp"

namespace lookback::capture {
namespace {

using MessageBuffer = std::array<char, 64 << 10>;

Result<Fd> open_route_socket(uint32_t groups) {
  Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return fail_errno(errno, "cannot open a netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "cannot bind a netlink socket");
  return fd;
}

std::string mac_text(const unsigned char* bytes, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += fmt::format("{}{:02x}", i == 0 ? "" : ":", bytes[i]);
  return text;
}

/// The link that an RTM_NEWLINK or RTM_DELLINK message is about. False for messages about something else, such as a
/// port that joins or leaves a bridge (family AF_BRIDGE).
bool parse_link(const nlmsghdr* header, LinkEntry& link) {
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof(ifinfomsg))) return false;
  const auto* info = static_cast<const ifinfomsg*>(NLMSG_DATA(header));
  if (info->ifi_family != AF_UNSPEC) return false;
  link.interface.index = static_cast<uint32_t>(info->ifi_index);
  link.hardware_type = info->ifi_type;
  link.interface.link_type = packet::link_type_of_hardware(info->ifi_type);
  link.up = (info->ifi_flags & IFF_UP) != 0;
  auto left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof(ifinfomsg)));
  for (const auto* attribute = IFLA_RTA(info); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    const auto* data = static_cast<const unsigned char*>(RTA_DATA(attribute));
    const size_t size = RTA_PAYLOAD(attribute);
    switch (attribute->rta_type) {
      case IFLA_IFNAME:
        link.interface.name.assign(reinterpret_cast<const char*>(data),
                                   strnlen(reinterpret_cast<const char*>(data), size));
        break;
      case IFLA_ADDRESS:
        // Tunnels have their end point here; that is no hardware address.
        if (info->ifi_type == ARPHRD_ETHER || info->ifi_type == ARPHRD_LOOPBACK)
          link.interface.mac = mac_text(data, size);
        break;
      case IFLA_MTU:
        if (size >= sizeof(uint32_t)) std::memcpy(&link.interface.mtu, data, sizeof(uint32_t));
        break;
      default: break;
    }
  }
  return !link.interface.name.empty();
}

}  // namespace

Result<InterfaceTable> InterfaceTable::open() {
  InterfaceTable table;
  TRY_ASSIGN(table.events_, open_route_socket(RTMGRP_LINK));
  const int buffer_bytes = 1 << 20;  // a burst of events; what does not fit is listed afresh
  setsockopt(table.events_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
  Changes changes;
  TRY(table.list_all(changes));
  return table;
}

Result<> InterfaceTable::list_all(Changes& changes) {
  TRY_ASSIGN(const Fd fd, open_route_socket(0));
  struct {
    nlmsghdr header;
    ifinfomsg info;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.info.ifi_family = AF_UNSPEC;
  if (send(fd.get(), &request, sizeof request, 0) < 0)
    return fail_errno(errno, "cannot ask for the network interfaces");

  std::vector<uint32_t> seen;
  const auto buffer = std::make_unique<MessageBuffer>();
  for (bool done = false; !done;) {
    const ssize_t got = recv(fd.get(), buffer->data(), buffer->size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "cannot list the network interfaces");
    auto left = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer->data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) {
        done = true;
        break;
      }
      if (header->nlmsg_type == NLMSG_ERROR) {
        const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
        return fail_errno(-error->error, "cannot list the network interfaces");
      }
      take_message(header, changes, &seen);
    }
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uint32_t index = entries_[i].interface.index;
    if (entries_[i].present && std::find(seen.begin(), seen.end(), index) == seen.end())
      take_away(index, changes);
  }
  return {};
}

Result<InterfaceTable::Changes> InterfaceTable::refresh() {
  Changes changes;
  alignas(nlmsghdr) static thread_local MessageBuffer buffer;
  for (;;) {
    const ssize_t got = recv(events_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno == ENOBUFS) {  // events were lost
        TRY(list_all(changes));
        continue;
      }
      return fail_errno(errno, "cannot follow the network interfaces");
    }
    auto left = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left))
      take_message(header, changes, nullptr);
  }
  if (gone_ != 0) forget_old(changes);
  return changes;
}

void InterfaceTable::take_message(const void* message, Changes& changes,
                                  std::vector<uint32_t>* seen) {
  const auto* header = static_cast<const nlmsghdr*>(message);
  if (header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK) return;
  LinkEntry link;
  if (!parse_link(header, link)) return;
  if (header->nlmsg_type == RTM_DELLINK) {
    take_away(link.interface.index, changes);
    return;
  }
  if (seen != nullptr) seen->push_back(link.interface.index);
  take_link(std::move(link), changes);
}

LinkEntry* InterfaceTable::current(uint32_t index) {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry)
    if (entry->present && entry->interface.index == index) return &*entry;
  return nullptr;
}

void InterfaceTable::take_link(LinkEntry link, Changes& changes) {
  LinkEntry* entry = current(link.interface.index);
  if (entry != nullptr && (entry->interface.name != link.interface.name ||
                           entry->hardware_type != link.hardware_type)) {
    take_away(link.interface.index, changes);
    entry = nullptr;
  }
  if (entry == nullptr) {
    changes.table = true;
    changes.up_state = true;
    entries_.push_back(std::move(link));
    return;
  }
  if (entry->up != link.up) changes.up_state = true;
  entry->up = link.up;
  if (entry->interface != link.interface) {
    changes.table = true;
    entry->interface = std::move(link.interface);
  }
}

void InterfaceTable::take_away(uint32_t index, Changes& changes) {
  LinkEntry* entry = current(index);
  if (entry == nullptr) return;
  entry->present = false;
  entry->up = false;
  entry->gone_ns = Clock::system().monotonic_ns();
  ++gone_;
  changes.table = true;
  changes.up_state = true;
}

void InterfaceTable::forget_old(Changes& changes) {
  const int64_t now = Clock::system().monotonic_ns();
  const size_t forgotten = std::erase_if(entries_, [&](const LinkEntry& entry) {
    return !entry.present && now - entry.gone_ns > kKeepGoneNs;
  });
  gone_ -= forgotten;
  if (forgotten != 0) changes.table = true;
}

}  // namespace lookback::capture
