#pragma once
// One packet for each way in which a packet carries another.

#include <cstdint>
#include <string_view>
#include <vector>

#include "unit/packet/support/build.hpp"

namespace lookback::packet::testing {

struct Carrier {
  std::string_view name;
  uint16_t link_type;
  Bytes data;
  std::string_view inner = "10.1.1.1";  ///< an address of the innermost packet
  bool tshark_knows = true;             ///< its fields show that address, too
};

[[nodiscard]] const std::vector<Carrier>& carriers();

}  // namespace lookback::packet::testing
