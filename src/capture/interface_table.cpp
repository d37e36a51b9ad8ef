#include "capture/interface_table.hpp"

#include <fmt/core.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "lookback/base/clock.hpp"
#include "lookback/base/netlink.hpp"
#include "lookback/base/text.hpp"

namespace lookback::capture {
namespace {

using MessageBuffer = std::array<std::byte, 64 << 10>;

std::string mac_text(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes)
    text += fmt::format("{}{:02x}", text.empty() ? "" : ":", static_cast<unsigned>(byte));
  return text;
}

/// The link that an RTM_NEWLINK or RTM_DELLINK message is about. False for messages about something else, such as a
/// port that joins or leaves a bridge (family AF_BRIDGE).
bool parse_link(std::span<const std::byte> body, LinkEntry& link) {
  ifinfomsg info;
  if (body.size() < sizeof info) return false;
  std::memcpy(&info, body.data(), sizeof info);
  if (info.ifi_family != AF_UNSPEC) return false;
  link.interface.index = static_cast<uint32_t>(info.ifi_index);
  link.hardware_type = info.ifi_type;
  link.interface.link_type = packet::link_type_of_hardware(info.ifi_type);
  link.up = (info.ifi_flags & IFF_UP) != 0;
  each_netlink_attribute(
      body.subspan(sizeof info), [&](uint16_t type, std::span<const std::byte> value) {
        const auto* text = reinterpret_cast<const char*>(value.data());
        if (type == IFLA_IFNAME) {
          link.interface.name = name_to_text({text, strnlen(text, value.size())});
        } else if (type == IFLA_ADDRESS) {
          // Tunnels have their end point here; that is not a hardware address.
          if (info.ifi_type == ARPHRD_ETHER || info.ifi_type == ARPHRD_LOOPBACK)
            link.interface.mac = mac_text(value);
        } else if (type == IFLA_MTU && value.size() >= sizeof link.interface.mtu) {
          std::memcpy(&link.interface.mtu, value.data(), sizeof link.interface.mtu);
        }
      });
  return !link.interface.name.empty();
}

}  // namespace

Result<InterfaceTable> InterfaceTable::open() {
  InterfaceTable table;
  TRY_ASSIGN(table.events_, open_netlink(NETLINK_ROUTE, RTMGRP_LINK));
  const int buffer_bytes = 1 << 20;  // a burst of events; what does not fit is listed afresh
  setsockopt(table.events_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
  Changes changes;
  TRY(table.list_all(changes));
  return table;
}

Result<> InterfaceTable::list_all(Changes& changes) {
  TRY_ASSIGN(const Fd fd, open_netlink(NETLINK_ROUTE));
  ifinfomsg request{};
  request.ifi_family = AF_UNSPEC;
  std::vector<uint32_t> seen;
  TRY(netlink_dump(fd, RTM_GETLINK, std::as_bytes(std::span(&request, 1)),
                   "cannot list the network interfaces",
                   [&](uint16_t type, std::span<const std::byte> body) -> Result<> {
                     take_message(type, body, changes, &seen);
                     return {};
                   }));
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uint32_t index = entries_[i].interface.index;
    if (entries_[i].present && std::find(seen.begin(), seen.end(), index) == seen.end())
      take_away(index, changes);
  }
  return {};
}

Result<InterfaceTable::Changes> InterfaceTable::refresh() {
  Changes changes;
  static thread_local MessageBuffer buffer;
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
    TRY(each_netlink_message(std::span(buffer).first(static_cast<size_t>(got)),
                             "cannot follow the network interfaces",
                             [&](uint16_t type, std::span<const std::byte> body) -> Result<> {
                               take_message(type, body, changes, nullptr);
                               return {};
                             }));
  }
  if (gone_ != 0) forget_old(changes);
  return changes;
}

void InterfaceTable::take_message(uint16_t type, std::span<const std::byte> body, Changes& changes,
                                  std::vector<uint32_t>* seen) {
  if (type != RTM_NEWLINK && type != RTM_DELLINK) return;
  LinkEntry link;
  if (!parse_link(body, link)) return;
  if (type == RTM_DELLINK) {
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
