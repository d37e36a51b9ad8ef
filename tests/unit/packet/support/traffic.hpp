#pragma once
// Random packets and pcap-filter expressions over the same few addresses and ports, so that they
// meet often.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "unit/packet/support/build.hpp"

namespace lookback::packet::testing {

struct RandomPacket {
  Bytes data;  ///< some are cut, some have bytes overwritten
  uint32_t original_length = 0;
};

class Traffic {
 public:
  explicit Traffic(uint32_t seed) : random_(seed) {}
  /// Of any kind that a LINKTYPE (Ethernet, raw, cooked v1 and v2, null) can carry.
  [[nodiscard]] RandomPacket packet(uint16_t link_type);
  /// A valid or invalid expression of the whole language, names left out.
  [[nodiscard]] std::string expression();

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  bool one_in(unsigned n) { return below(n) == 0; }
  const char* v4();
  const char* v6();
  uint16_t port();
  Bytes ip(bool six, int depth);
  Bytes transport(uint8_t& protocol, int depth);
  Bytes ethernet_payload(uint16_t& ether_type, int depth);
  std::string primitive();
  std::string expression(int depth);

  std::mt19937 random_;
};

/// Expressions of every kind that people write.
const std::vector<std::string>& common_expressions();

}  // namespace lookback::packet::testing
