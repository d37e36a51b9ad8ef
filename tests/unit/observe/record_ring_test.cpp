#include "observe/record_ring.hpp"

#include <linux/bpf.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>

using namespace lookback::observe;

namespace {

/// What the kernel does when it writes.
template <size_t kSize>
struct WriterOf {
  static constexpr size_t kBytes = kSize;
  alignas(8) std::byte bytes[kBytes]{};
  uint64_t producer = 0, consumer = 0;
  RecordRing ring{bytes, &producer, &consumer};

  bool write(const std::string& text, uint32_t bits = 0) {
    const uint64_t step = (BPF_RINGBUF_HDR_SZ + text.size() + 7) / 8 * 8;
    if (producer + step - consumer > kBytes) return false;
    const uint32_t head[2] = {static_cast<uint32_t>(text.size()) | bits, 0};
    std::memcpy(bytes + producer % kBytes, head, sizeof head);
    for (size_t i = 0; i < text.size(); ++i)
      bytes[(producer + sizeof head + i) % kBytes] = static_cast<std::byte>(text[i]);
    producer += step;
    return true;
  }
  std::vector<std::string> read() {
    std::vector<std::string> texts;
    ring.consume([&](std::span<const std::byte> record) {
      texts.emplace_back(reinterpret_cast<const char*>(record.data()), record.size());
    });
    return texts;
  }
};
using Writer = WriterOf<4096>;

}  // namespace

TEST_CASE("records come in their order, and whole where they go over the ring's end") {
  Writer writer;
  size_t written = 0;
  for (size_t round = 0; round < 3000; ++round) {
    std::vector<std::string> texts;
    for (size_t i = 0; i < round % 7; ++i) {
      texts.push_back(std::to_string(written) +
                      std::string(written * 37 % 400, static_cast<char>('a' + written % 26)));
      REQUIRE(writer.write(texts.back()));
      ++written;
    }
    REQUIRE(writer.read() == texts);
    REQUIRE(writer.consumer == writer.producer);
  }
  CHECK(writer.producer > 100 * Writer::kBytes);
}

TEST_CASE("a ring that is full can be read to its last byte") {
  Writer writer;
  size_t texts = 0;
  while (writer.write(std::string(120, 'x'))) ++texts;
  CHECK(texts == Writer::kBytes / 128);
  CHECK(writer.read().size() == texts);
  CHECK(writer.write("y"));
  CHECK(writer.read() == std::vector<std::string>{"y"});
}

TEST_CASE("reading stops at a record that is being written, and passes over one thrown away") {
  Writer writer;
  REQUIRE(writer.write("one"));
  REQUIRE(writer.write("thrown away", BPF_RINGBUF_DISCARD_BIT));
  REQUIRE(writer.write("two"));
  const uint64_t at = writer.producer;
  REQUIRE(writer.write("three", BPF_RINGBUF_BUSY_BIT));
  REQUIRE(writer.write("four"));
  CHECK(writer.read() == std::vector<std::string>{"one", "two"});
  CHECK(writer.consumer == at);
  CHECK(writer.read().empty());
  const uint32_t done = 5;
  std::memcpy(writer.bytes + at, &done, sizeof done);
  CHECK(writer.read() == std::vector<std::string>{"three", "four"});
}

TEST_CASE("what is written while others are read is read too") {
  Writer writer;
  REQUIRE(writer.write("first"));
  std::vector<std::string> texts;
  writer.ring.consume([&](std::span<const std::byte> record) {
    texts.emplace_back(reinterpret_cast<const char*>(record.data()), record.size());
    if (texts.size() < 4) writer.write("next");
  });
  CHECK(texts == std::vector<std::string>{"first", "next", "next", "next"});
}

TEST_CASE("a writer that is as fast as the reader does not keep it for ever") {
  auto writer = std::make_unique<WriterOf<256 << 10>>();
  const std::string text(1000, 'x');
  REQUIRE(writer->write(text));
  size_t read = 0;
  writer->ring.consume([&](std::span<const std::byte>) {
    ++read;
    REQUIRE(read < 1'000'000);
    REQUIRE(writer->write(text));
  });
  CHECK(read >= writer->kBytes / 1008 - 1);
  CHECK(writer->consumer < writer->producer);
}
