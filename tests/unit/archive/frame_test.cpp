#include <catch2/catch.hpp>

#include "lookback/archive/frame.hpp"
#include "lookback/base/fd.hpp"
#include "unit/archive/support/samples.hpp"
#include "unit/support/files.hpp"
#include "unit/support/shell.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::archive;
using lookback::test::sample_content;

namespace {

using Bytes = std::vector<std::byte>;

Bytes encode(std::span<const std::byte> content) {
  Bytes frame;
  FrameEncoder().encode(content, frame);
  return frame;
}

bool decodes(FrameDecoder& decoder, std::span<const std::byte> frame, size_t size, Bytes* out = nullptr) {
  Bytes content(size);
  const auto decoded = decoder.decode(frame, content);
  if (!decoded) REQUIRE(decoded.error().kind == ErrorKind::corrupt);
  if (out != nullptr) *out = content;
  return decoded.has_value();
}

/// A frame by hand: header with the descriptor and window given, one raw block, no real checksum.
Bytes handmade(uint8_t descriptor, std::vector<uint8_t> header_rest) {
  std::vector<uint8_t> bytes{0x28, 0xb5, 0x2f, 0xfd, descriptor};
  bytes.insert(bytes.end(), header_rest.begin(), header_rest.end());
  bytes.insert(bytes.end(), {0x09, 0, 0, 'x', 0, 0, 0, 0});
  Bytes out;
  for (const uint8_t b : bytes) out.push_back(static_cast<std::byte>(b));
  return out;
}

}  // namespace

TEST_CASE("frames of all sizes come back as they were, and alike each time") {
  FrameEncoder encoder;
  FrameDecoder decoder;
  for (const size_t size : {0, 1, 255, 256, 257, 511, 512, 65535, 65536, 65792, 1 << 20, 4 << 20}) {
    CAPTURE(size);
    const Bytes content = sample_content(size);
    Bytes first{std::byte{7}}, second;
    const size_t length = encoder.encode(content, first);
    REQUIRE(length == first.size() - 1);
    encoder.encode(content, second);
    REQUIRE(std::equal(second.begin(), second.end(), first.begin() + 1, first.end()));
    REQUIRE(length <= max_compressed_bytes(size));
    Bytes out;
    REQUIRE(decodes(decoder, second, size, &out));
    REQUIRE(out == content);
    REQUIRE(read_frame_header(std::span(second).first(std::min<size_t>(second.size(), 18)))->content_bytes == size);
    REQUIRE(frame_length(second).value() == length);
  }
}

TEST_CASE("a frame is exactly what it is declared to be or nothing") {
  FrameDecoder decoder;
  const Bytes content = sample_content(5000), frame = encode(content);
  REQUIRE(decodes(decoder, frame, 5000));
  REQUIRE_FALSE(decodes(decoder, frame, 4999));
  REQUIRE_FALSE(decodes(decoder, frame, 5001));
  REQUIRE_FALSE(decodes(decoder, frame, 0));

  Bytes twice = frame;
  twice.insert(twice.end(), frame.begin(), frame.end());
  REQUIRE_FALSE(decodes(decoder, twice, 5000));
  REQUIRE_FALSE(decodes(decoder, twice, 10000));
  REQUIRE(frame_length(twice).value() == frame.size());
  twice.resize(frame.size() + 1);
  REQUIRE_FALSE(decodes(decoder, twice, 5000));

  for (size_t length = 0; length < frame.size(); ++length)
    REQUIRE_FALSE(decodes(decoder, std::span(frame).first(length), 5000));
  // A decoder that failed goes on working.
  REQUIRE(decodes(decoder, frame, 5000));
}

TEST_CASE("a flipped bit anywhere in a frame is found or changes nothing") {
  FrameDecoder decoder;
  const Bytes content = sample_content(3000), frame = encode(content);
  size_t harmless = 0;
  for (size_t bit = 0; bit < frame.size() * 8; ++bit) {
    Bytes damaged = frame;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    Bytes out;
    if (!decodes(decoder, damaged, content.size(), &out)) continue;
    REQUIRE(out == content);
    ++harmless;
  }
  REQUIRE(harmless <= 8);  // bits that pad a block's streams
}

TEST_CASE("frames that ask for too much are refused by their header") {
  const auto message = [](const Bytes& frame) {
    const auto header = read_frame_header(frame);
    return header ? std::string("accepted") : header.error().message;
  };
  using Catch::Contains;
  REQUIRE(message(handmade(0x24, {1})) == "accepted");
  REQUIRE_THAT(message(handmade(0x20, {1})), Contains("without checksum"));
  REQUIRE_THAT(message(handmade(0x25, {9, 1})), Contains("dictionary"));
  REQUIRE_THAT(message(handmade(0x34, {1})), Contains("reserved"));
  REQUIRE_THAT(message(handmade(0x2c, {1})), Contains("reserved"));
  REQUIRE_THAT(message(handmade(0x04, {0x50})), Contains("without content size"));
  REQUIRE(message(handmade(0x84, {0x68, 1, 0, 0, 0})) == "accepted");                            // 8 MiB window
  REQUIRE_THAT(message(handmade(0x84, {0x69, 1, 0, 0, 0})), Contains("window"));                 // 9 MiB
  REQUIRE_THAT(message(handmade(0x84, {0xff, 1, 0, 0, 0})), Contains("window"));                 // 3.75 TiB
  REQUIRE_THAT(message(handmade(0xa4, {1, 0, 0x40, 0})), Contains("allowed"));                   // 4 MiB + 1
  REQUIRE_THAT(message(handmade(0xe4, {0, 0, 0, 0, 0, 0, 0, 0x80})), Contains("allowed"));       // 2^63
  Bytes skippable = handmade(0x24, {1});
  skippable[0] = std::byte{0x5e};
  skippable[1] = std::byte{0x2a};
  skippable[2] = std::byte{0x4d};
  skippable[3] = std::byte{0x18};
  REQUIRE_THAT(message(skippable), Contains("skippable"));
  Bytes legacy = handmade(0x24, {1});
  legacy[0] = std::byte{0x27};  // zstd 0.7
  REQUIRE_THAT(message(legacy), Contains("not a zstd frame"));
  REQUIRE_THAT(message(Bytes(3)), Contains("ends inside"));
}

TEST_CASE("frames made by zstd itself") {
  test::TemporaryDirectory dir;
  const Bytes content = sample_content(100'000);
  test::spill(dir / "content", as_text(content));
  FrameDecoder decoder;
  const auto frame_of = [&](const std::string& options) {
    const auto run = test::run_shell(dir.path(), "zstd -q -f " + options + " content -o frame.zst");
    INFO(run.output);
    REQUIRE(run.status == 0);
    const std::string bytes = test::slurp(dir / "frame.zst");
    return Bytes(as_bytes(bytes).begin(), as_bytes(bytes).end());
  };
  Bytes out;
  REQUIRE(decodes(decoder, frame_of("-3"), content.size(), &out));
  REQUIRE(out == content);
  REQUIRE_FALSE(decodes(decoder, frame_of("-3 --no-check"), content.size()));
  REQUIRE_FALSE(decodes(decoder, frame_of("-3 --no-content-size"), content.size()));

  test::spill(dir / "ours.zst", as_text(encode(content)));
  const auto tested = test::run_shell(dir.path(), "zstd -t ours.zst && zstd -dc ours.zst | cmp - content");
  INFO(tested.output);
  REQUIRE(tested.status == 0);
}
