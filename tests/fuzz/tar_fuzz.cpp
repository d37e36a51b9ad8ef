#include <algorithm>

#include "lookback/archive/tar.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto blocks = std::as_bytes(std::span(data, size));
  const auto header = lookback::archive::parse_tar_header(blocks);
  // What is accepted has one spelling, and it stays inside its folder.
  if (header) {
    LOOKBACK_CHECK(lookback::archive::check_member_name(header->name).has_value());
    LOOKBACK_CHECK(std::ranges::equal(lookback::archive::encode_tar_header(*header), blocks));
  }
  return 0;
}
