#pragma once
// Pseudo-headers that recorders write in their own byte order (https://www.tcpdump.org/linktypes.html): brought into the
// order of this machine when a file of the other order is read. Otherwise filters, dissectors and exports, which are
// little-endian, would read them wrongly.

#include <cstddef>
#include <cstdint>
#include <span>

namespace lookback::packet {

/// Swaps in place what has the byte order of the writer in a packet of this link type. `data` may be cut anywhere.
void swap_pseudo_header(uint16_t link_type, std::span<std::byte> data);

}  // namespace lookback::packet
