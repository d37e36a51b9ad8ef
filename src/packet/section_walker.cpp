#include "lookback/packet/section_walker.hpp"

#include "packet/pcapng_blocks.hpp"

namespace lookback::packet {

bool SectionWalker::at_end() {
  if (left_ != 0) return damage("a block that is cut off");
  if (expect_section_header_) return damage("no section header");
  return false;
}

bool SectionWalker::damage(std::string_view what) {
  error_ =
      Error{ErrorKind::corrupt, fmt::format("{} at offset {} of a pcapng section", what, offset())};
  left_ = 0;
  expect_section_header_ = false;
  return false;
}

bool SectionWalker::other_block(uint32_t type, uint32_t length) {
  if (expect_section_header_ != (type == kPcapngSectionHeader))
    return damage(expect_section_header_ ? "no section header" : "a second section header");
  if (type == kPcapngSectionHeader) {
    constexpr uint32_t kShortest = 28;
    constexpr uint32_t kVersion1 = 1;  // major 1, minor 0
    if (length < kShortest || word(at_ + 8) != kByteOrderMagic || word(at_ + 12) != kVersion1)
      return damage("a section header that is not this program's");
    expect_section_header_ = false;
    return true;
  }
  if (type == kPcapngInterface) {
    LeftOut ignored;
    auto block = parse_interface_block({at_ + 8, length - kSmallestBlock}, ByteOrder{}, ignored);
    if (!block) return damage(block.error().message);
    if (block->scale.resolution != 9 || block->scale.offset_seconds != 0)
      return damage("an interface whose times are not in nanoseconds");
    interfaces_.push_back(std::move(block->interface));
    ++interface_count_;
  }
  if (type == kPcapngProcess) {
    auto process = parse_process_block({at_ + 8, length - kSmallestBlock}, ByteOrder{});
    if (!process) return damage(process.error().message);
    processes_.push_back(std::move(*process));
  }
  constexpr uint32_t kOldPacket = 2;
  if (type == kPcapngSimplePacket || type == kOldPacket)
    return damage("a packet in a kind of block that this program does not write");
  return true;  // statistics, names and what later versions may add
}

std::byte* SectionWalker::find_process(std::span<std::byte> options) {
  OptionReader reader(options, ByteOrder{});
  while (const auto option = reader.next()) {
    if (option->code == kEpbProcessBlock && option->value.size() == 4)
      return options.data() + (option->value.data() - options.data());
  }
  return nullptr;
}

bool SectionWalker::find_flags(std::span<const std::byte> options, uint32_t& flags) {
  OptionReader reader(options, ByteOrder{});
  while (const auto option = reader.next()) {
    if (option->code == kEpbFlags && option->value.size() == 4)
      flags = load<uint32_t>(option->value.data());
  }
  return !reader.damaged();
}

}  // namespace lookback::packet
