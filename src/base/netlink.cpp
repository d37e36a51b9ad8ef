#include "lookback/base/netlink.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace lookback {

namespace {

constexpr size_t kReceiveBytes = 64 << 10;

/// Lengths are rounded up to four between messages and attributes alike.
constexpr size_t aligned(size_t length) {
  return (length + 3) & ~size_t{3};
}

}  // namespace

Result<Fd> open_netlink(int protocol, uint32_t groups) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fail_errno(errno, "cannot open a netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "cannot bind a netlink socket");
  return fd;
}

Result<bool> each_netlink_message(std::span<const std::byte> datagram, std::string_view what,
                                  const TakeNetlink& take) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr head;
    std::memcpy(&head, datagram.data(), sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > datagram.size())
      return fail(ErrorKind::corrupt, "{}: a message's length is wrong", what);
    const auto body = datagram.subspan(sizeof head, head.nlmsg_len - sizeof head);
    if (head.nlmsg_type == NLMSG_DONE) return true;
    if (head.nlmsg_type == NLMSG_ERROR) {
      int error = 0;
      if (body.size() < sizeof error)
        return fail(ErrorKind::corrupt, "{}: a message ends early", what);
      std::memcpy(&error, body.data(), sizeof error);
      if (error != 0) return fail_errno(-error, what);
      return true;  // it only says that the request was understood
    }
    if (head.nlmsg_type != NLMSG_NOOP) TRY(take(head.nlmsg_type, body));
    datagram = datagram.subspan(std::min(aligned(head.nlmsg_len), datagram.size()));
  }
  return false;
}

Result<> netlink_dump(const Fd& socket, uint16_t type, std::span<const std::byte> body,
                      std::string_view what, const TakeNetlink& take) {
  nlmsghdr head{};
  head.nlmsg_len = static_cast<uint32_t>(sizeof head + body.size());
  head.nlmsg_type = type;
  head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  std::vector<std::byte> request(sizeof head + body.size());
  std::memcpy(request.data(), &head, sizeof head);
  std::copy(body.begin(), body.end(), request.begin() + sizeof head);
  if (::send(socket.get(), request.data(), request.size(), 0) < 0) return fail_errno(errno, what);
  std::vector<std::byte> buffer(kReceiveBytes);
  for (;;) {
    const ssize_t length = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail_errno(errno, what);
    if (length == 0) return fail(ErrorKind::failed, "{}: the list ends early", what);
    TRY_ASSIGN(
        const bool done,
        each_netlink_message(std::span(buffer).first(static_cast<size_t>(length)), what, take));
    if (done) return {};
  }
}

void each_netlink_attribute(
    std::span<const std::byte> attributes,
    const std::function<void(uint16_t type, std::span<const std::byte> value)>& take) {
  while (attributes.size() >= sizeof(rtattr)) {
    rtattr head;
    std::memcpy(&head, attributes.data(), sizeof head);
    if (head.rta_len < sizeof head || head.rta_len > attributes.size()) return;
    take(static_cast<uint16_t>(head.rta_type & NLA_TYPE_MASK),
         attributes.subspan(sizeof head, head.rta_len - sizeof head));
    attributes = attributes.subspan(std::min(aligned(head.rta_len), attributes.size()));
  }
}

}  // namespace lookback
