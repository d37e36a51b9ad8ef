#include "lookback/archive/frame.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lookback::archive;
  static FrameDecoder decoder;
  const auto frame = std::as_bytes(std::span(data, size));
  const auto header = read_frame_header(frame);
  if (!header) return 0;
  LOOKBACK_CHECK(header->content_bytes <= kMaxFrameContent && header->window_bytes <= kMaxFrameWindow);
  std::vector<std::byte> content(header->content_bytes);
  if (decoder.decode(frame, content)) {
    LOOKBACK_CHECK(*frame_length(frame) == size);
    // One byte more or less than declared is refused.
    content.resize(content.size() + 1);
    LOOKBACK_CHECK(!decoder.decode(frame, content));
  }
  return 0;
}
