#include "unit/archive/support/samples.hpp"

#include <algorithm>
#include <random>

namespace lookback::test {

std::vector<std::byte> sample_content(size_t bytes, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> content(bytes);
  for (size_t at = 0; at < bytes;) {
    const size_t run = std::min<size_t>(bytes - at, 20 + random() % 200);
    const bool plain = random() % 2 == 0;
    const auto value = static_cast<std::byte>(random());
    for (size_t i = 0; i < run; ++i) content[at + i] = plain ? value : static_cast<std::byte>(random());
    at += run;
  }
  return content;
}

archive::MemberContent sample_member(std::span<const std::byte> content, size_t frame_bytes) {
  archive::FrameEncoder encoder;
  archive::MemberContent member;
  for (size_t at = 0; at < content.size(); at += frame_bytes) {
    const auto part = content.subspan(at, std::min(frame_bytes, content.size() - at));
    const auto first = static_cast<int64_t>(1'700'000'000'000'000'000 + at);
    const size_t packets = std::min<size_t>(10, part.size());
    member.frames.push_back({encoder.encode(part, member.compressed), part.size(), first, first + 99, packets, "AbC+/="});
    member.packets += packets;
  }
  member.size = content.size();
  member.sha256 = sha256_hex(content);
  return member;
}

}  // namespace lookback::test
