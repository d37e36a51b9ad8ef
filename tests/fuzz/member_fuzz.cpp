#include "lookback/archive/member.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lookback::archive;
  static MemberChecker checker;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto member = decode_member({bytes.begin(), bytes.end()});
  if (!member || !checker.check(*member)) return 0;
  // What is accepted travels on unchanged.
  auto wire = encode_member_header(*member);
  wire.insert(wire.end(), member->compressed.begin(), member->compressed.end());
  const auto again = decode_member(std::move(wire));
  LOOKBACK_CHECK(again && again->frames == member->frames && checker.check(*again));
  return 0;
}
