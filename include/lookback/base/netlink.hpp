#pragma once
// netlink(7): asking the kernel for lists, and taking its messages apart.

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback {

/// A socket of this protocol (NETLINK_ROUTE, …) that belongs to the multicast groups of the mask.
[[nodiscard]] Result<Fd> open_netlink(int protocol, uint32_t groups = 0);

/// An error of it ends the walk.
using TakeNetlink = std::function<Result<>(uint16_t type, std::span<const std::byte> body)>;

/// The messages of one datagram. True: the end of a dump was among them. Errors are the kernel's
/// own, `take`'s, and corrupt for lengths that cannot be. `what` begins their text.
[[nodiscard]] Result<bool> each_netlink_message(std::span<const std::byte> datagram,
                                                std::string_view what, const TakeNetlink& take);

/// Sends a request with NLM_F_DUMP, `body` behind its header, and takes what answers it.
[[nodiscard]] Result<> netlink_dump(const Fd& socket, uint16_t type,
                                    std::span<const std::byte> body, std::string_view what,
                                    const TakeNetlink& take);

/// The attributes (struct rtattr) of a message behind its fixed part. What is cut off is left out.
void each_netlink_attribute(
    std::span<const std::byte> attributes,
    const std::function<void(uint16_t type, std::span<const std::byte> value)>& take);

}  // namespace lookback
