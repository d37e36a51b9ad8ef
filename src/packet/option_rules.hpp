#pragma once
// Which pcapng options are handed on, and how their values change the byte order of a section
// (draft-ietf-opsawg-pcapng, sections 3.5, 4.2 and 4.3; the local codes of Apple's tools as Wireshark reads them).

#include <cstdint>
#include <span>
#include <string>

#include "lookback/packet/pcapng.hpp"
#include "packet/pcapng_blocks.hpp"

namespace lookback::packet {

/// Whose options: the codes mean other things in each.
enum class OptionOwner : uint8_t { interface, packet, old_packet };

/// Appends the option to `out` as a little-endian section has it; or, where it must not be copied, or where its value has the
/// writer's byte order in places that are not known, counts it in `left_out` by its name.
void copy_option(Buffer& out, const OptionReader::Option& option, OptionOwner owner, ByteOrder order, LeftOut& left_out);
/// Counts an option that is known but has no place.
void leave_out(const OptionReader::Option& option, OptionOwner owner, LeftOut& left_out);

/// "name resolution blocks", "blocks of type 0x00000bad".
[[nodiscard]] std::string block_name(uint32_t type);

}  // namespace lookback::packet
