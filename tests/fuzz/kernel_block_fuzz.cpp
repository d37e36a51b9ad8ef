// Input: a byte of packet count, then the block with its first packet at offset 48.
#include "lookback/base/result.hpp"
#include "lookback/packet/kernel_block.hpp"

using namespace lookback::packet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const auto block = std::as_bytes(std::span(data + 1, size - 1));
  KernelBlockWalker walker(block, 48, data[0]);
  const std::byte* end = block.data();
  unsigned packets = 0;
  while (const auto packet = walker.next()) {
    // Packets do not overlap and stay inside.
    LOOKBACK_CHECK(packet->view.data.data() >= end);
    end = packet->view.data.data() + packet->view.data.size();
    LOOKBACK_CHECK(end <= block.data() + block.size());
    ++packets;
  }
  LOOKBACK_CHECK(walker.damaged() != (packets == data[0]));
  return 0;
}
