// Answers of the kernel's netlink sockets: messages, and the attributes behind a fixed part whose
// length the type decides.

#include <cstddef>
#include <cstdint>
#include <span>

#include "lookback/base/netlink.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lookback;
  volatile uint64_t sum = 0;  // keeps the compiler from leaving out the reads
  const auto datagram = std::as_bytes(std::span(data, size));
  const auto read = each_netlink_message(
      datagram, "fuzz", [&](uint16_t type, std::span<const std::byte> body) -> Result<> {
        const size_t fixed = type % 128;
        if (body.size() < fixed) return fail(ErrorKind::corrupt, "too short");
        each_netlink_attribute(body.subspan(fixed), [&](uint16_t kind, auto value) {
          sum = sum + kind;
          for (const std::byte byte : value) sum = sum + static_cast<uint64_t>(byte);
        });
        return {};
      });
  (void)read;
  return 0;
}
