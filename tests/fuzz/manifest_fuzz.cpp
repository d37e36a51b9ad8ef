#include "lookback/archive/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lookback::archive;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto manifest = Manifest::from_json(text)) {
    const std::string written = manifest->to_json();
    const auto again = Manifest::from_json(written);
    LOOKBACK_CHECK(again && again->to_json() == written);
    for (const auto& node : manifest->nodes) {
      std::ignore = clock_offset_at(node.clock, manifest->created_ns);
      std::ignore = clock_error_at(node.clock, manifest->created_ns);
    }
  }
  if (const auto member = member_from_json(text)) LOOKBACK_CHECK(member_from_json(member_to_json(*member)) == *member);
  return 0;
}
