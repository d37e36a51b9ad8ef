// Segment files: written, read, cut short, damaged, torn.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "lookback/base/fd.hpp"
#include "lookback/base/file.hpp"
#include "store/run_reader.hpp"
#include "store/segment_reader.hpp"
#include "store/segment_writer.hpp"
#include "store/time_slack.hpp"
#include "unit/store/support/store_fixture.hpp"
#include "unit/support/effort.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;
using lookback::test::kOffsetStep;

namespace {

constexpr uint64_t kCapacity = 256 << 10;
constexpr int64_t kStart = 1'700'000'000 * kNsPerSecond;

/// A segment in memory, together with the packets that are in it.
struct Sample {
  std::string bytes;
  std::vector<TestPacket> packets;
  std::vector<IndexEntry> blocks;  ///< of packets
};

std::vector<TestPacket> some_packets(uint16_t mark, uint16_t from, uint16_t count, size_t bytes) {
  std::vector<TestPacket> packets;
  for (uint16_t i = from; i < from + count; ++i)
    packets.push_back(marked_packet(mark, i, bytes, kStart + i * 1000));
  return packets;
}

const char* const kTable =
    R"({"interfaces":[{"index":0,"name":"eth0","link_type":1,"mac":"","mtu":1500}]})";

/// Blocks of both kinds, the same layout for every mark.
Sample make_sample(uint16_t mark, uint64_t epoch, bool sealed, uint16_t per_block = 20,
                   size_t packet_bytes = 200) {
  TemporaryDirectory dir;
  const auto path = dir.path() / "segment";
  Sample sample;
  PreparedFile file;
  file.fd = *open_file(path, O_RDWR | O_CREAT);
  file.bytes = kCapacity;
  REQUIRE(::ftruncate(file.fd.get(), kCapacity) == 0);
  BlockOutput output(false);
  AlignedBuffer scratch;
  SegmentHeader header;
  header.epoch = epoch;
  header.sequence = 1;
  header.opened_ns = kStart;
  auto writer = SegmentWriter::start(std::move(file), header, kTable, output, scratch);
  REQUIRE(writer);
  for (uint16_t block = 0; block < 4; ++block) {
    const auto packets =
        some_packets(mark, static_cast<uint16_t>(block * per_block), per_block, packet_bytes);
    TestBlock made = block % 2 == 0 ? kernel_block(packets, 16 << 10) : compact_block(packets);
    const auto entry = writer->append(made.block, made.info);
    REQUIRE(entry);
    sample.blocks.push_back(*entry);
    sample.packets.insert(sample.packets.end(), packets.begin(), packets.end());
  }
  const uint64_t end = writer->end();
  if (sealed) {
    REQUIRE(writer->seal(kStart, scratch));
  }
  sample.bytes = *read_file(path);
  if (!sealed) sample.bytes.resize(end);
  return sample;
}

/// A file whose content changes between readings.
class Scratch {
 public:
  Scratch() : fd_(*open_file(dir_.path() / "segment", O_RDWR | O_CREAT)) {}
  void set(std::string_view bytes) {
    REQUIRE(::ftruncate(fd_.get(), static_cast<off_t>(bytes.size())) == 0);
    REQUIRE(pwrite_all(fd_.get(), as_bytes(bytes), 0));
  }
  void put(std::string_view bytes, size_t at) {
    REQUIRE(pwrite_all(fd_.get(), as_bytes(bytes), at));
  }
  void cut(size_t length) { REQUIRE(::ftruncate(fd_.get(), static_cast<off_t>(length)) == 0); }

  /// Everything that can be read, by whatever the segment says of its blocks; nothing where it is
  /// no segment.
  std::optional<ReadResult> read() {
    BlockWindow file(Fd(::dup(fd_.get())), 0);
    const auto contents = read_segment(file);
    if (!contents) {
      REQUIRE(contents.error().kind == ErrorKind::corrupt);
      return std::nullopt;
    }
    const uint64_t bytes = contents->end > kPageBytes ? contents->end - kPageBytes : 0;
    RunSource source{BlockWindow(Fd(::dup(fd_.get())), kRunReadAhead),
                     contents->header.epoch,
                     kPageBytes,
                     bytes,
                     kStart,
                     kStart,
                     {}};
    SegmentRunReader reader(std::move(source));
    return read_all(reader);
  }
  [[nodiscard]] BlockWindow window() const { return BlockWindow(Fd(::dup(fd_.get())), 0); }

 private:
  TemporaryDirectory dir_;
  Fd fd_;
};

/// Every packet read is one of those written, in their order.
void check_subsequence(const std::vector<TestPacket>& read,
                       const std::vector<TestPacket>& written) {
  size_t at = 0;
  for (const TestPacket& packet : read) {
    while (at < written.size() &&
           !(written[at].data == packet.data && written[at].time_ns == packet.time_ns))
      ++at;
    REQUIRE(at < written.size());
    ++at;
  }
}

}  // namespace

TEST_CASE("a segment gives back its packets, with and without its index") {
  const bool sealed = GENERATE(true, false);
  const Sample sample = make_sample(1, 100, sealed);
  Scratch file;
  file.set(sample.bytes);
  BlockWindow window = file.window();
  const auto contents = read_segment(window);
  REQUIRE(contents);
  CHECK(contents->sealed == sealed);
  CHECK(contents->end == sample.bytes.size());
  CHECK(contents->damage.empty());
  REQUIRE(contents->blocks.size() == 5);  // the note first
  CHECK(contents->blocks[0].kind == static_cast<uint16_t>(BlockKind::note));
  const auto read = file.read();
  REQUIRE(read);
  CHECK(read->packets == sample.packets);
  CHECK(read->damaged_blocks == 0);
  REQUIRE(read->interfaces.size() == 1);
  CHECK(read->interfaces[0].name == "eth0");
}

TEST_CASE("a segment cut at any byte serves every packet that is there whole", "[single-threaded]") {
  const bool sealed = GENERATE(true, false);
  const Sample sample = make_sample(1, 100, sealed, 10, 120);
  Scratch file;
  file.set(sample.bytes);
  for (size_t length = sample.bytes.size(); length >= kOffsetStep;) {
    length -= kOffsetStep;
    file.cut(length);
    const auto read = file.read();
    if (!read) {
      REQUIRE(length < sizeof(SegmentHeader));
      continue;
    }
    check_subsequence(read->packets, sample.packets);
    // What ends at the sector in which the file ends is there: a tag that was cut off is a stale
    // one.
    size_t whole = 0;
    for (const IndexEntry& block : sample.blocks) {
      if (uint64_t{block.page} * kPageBytes + round_up(block.used_bytes, kSectorBytes) <= length)
        whole += block.packets;
    }
    REQUIRE(read->packets.size() >= whole);
    if (length <= kPageBytes) REQUIRE(read->packets.empty());
  }
}

TEST_CASE("packets in front of the cut inside a block are served") {
  const Sample sample = make_sample(1, 100, false);
  const IndexEntry& block = sample.blocks[1];  // compact: 216 bytes a packet
  const size_t start = size_t{block.page} * kPageBytes;
  Scratch file;
  for (size_t sector = 2; sector * kSectorBytes < block.used_bytes; ++sector) {
    file.set(sample.bytes);
    file.cut(start + sector * kSectorBytes);
    const auto read = file.read();
    REQUIRE(read);
    const size_t in_block = (sector * kSectorBytes - 512) / 216;
    CHECK(read->packets.size() == std::min<size_t>(20 + in_block, 40));
    CHECK(read->damaged_blocks == 1);
    REQUIRE(read->damage.size() == 1);
    CHECK(read->damage[0].packets == 20 - in_block);
  }
}

TEST_CASE("a flipped bit costs at most its block, and never makes up packets", "[single-threaded]") {
  const bool sealed = GENERATE(true, false);
  const Sample sample = make_sample(1, 100, sealed, 10, 120);
  Scratch file;
  file.set(sample.bytes);
  std::mt19937 random(1);
  for (size_t at = 0; at < sample.bytes.size(); at += kOffsetStep) {
    std::string byte(1, static_cast<char>(sample.bytes[at] ^ (1 << random() % 8)));
    file.put(byte, at);
    const auto read = file.read();
    file.put(std::string_view(sample.bytes).substr(at, 1), at);
    if (!read) {
      REQUIRE(at < sizeof(SegmentHeader));
      continue;
    }
    // Packet bytes have no checksum: a packet may come back with that one bit wrong. Nothing else
    // may be new.
    size_t changed = 0, next = 0;
    for (const TestPacket& packet : read->packets) {
      size_t match = next;
      while (match < sample.packets.size() && sample.packets[match].data != packet.data) ++match;
      if (match < sample.packets.size())
        next = match + 1;
      else
        ++changed;
    }
    REQUIRE(changed <= 1);
    REQUIRE(read->packets.size() + 10 >= sample.packets.size());
    // The end of a segment that nobody sealed cannot be told from a write that a crash prevented.
    const bool last = !sealed && at >= size_t{sample.blocks.back().page} * kPageBytes;
    REQUIRE((read->damaged_blocks > 0 || last || read->packets.size() == sample.packets.size()));
  }
}

TEST_CASE("a write torn at any sector over an older segment shows nothing old") {
  // Both have the same layout, so that everything but the tags fits: lengths, offsets, chains.
  const Sample old = make_sample(0xAAAA, 100, false);
  const Sample now = make_sample(0xBBBB, 200, false);
  REQUIRE(old.bytes.size() == now.bytes.size());
  Scratch file;
  std::mt19937 random(2);
  const size_t sectors = now.bytes.size() / kSectorBytes;
  const auto stale_or_new = [&](const std::vector<bool>& stale) {
    std::string mixed = now.bytes;
    for (size_t s = 0; s < sectors; ++s) {
      if (stale[s])
        std::memcpy(mixed.data() + s * kSectorBytes, old.bytes.data() + s * kSectorBytes,
                    kSectorBytes);
    }
    file.set(mixed);
    return file.read();
  };
  const auto check = [&](const std::vector<bool>& stale) {
    const auto read = stale_or_new(stale);
    if (!read) return;
    if (stale[0]) return;  // the old segment's header: that is the old segment, see below
    check_subsequence(read->packets, now.packets);
    for (const IndexEntry& block : now.blocks) {
      const size_t start = size_t{block.page} * kPageBytes / kSectorBytes;
      const size_t end = start + round_up(block.used_bytes, kSectorBytes) / kSectorBytes;
      size_t first_stale = start;
      while (first_stale < end && !stale[first_stale]) ++first_stale;
      // Of a block that is whole every packet is there; of a torn one those that end a sector in
      // front of the tear.
      const size_t from = (&block - now.blocks.data()) * 20ULL;
      size_t expected = 20;
      if (first_stale < end) {
        const size_t payload =
            block.kind == static_cast<uint16_t>(BlockKind::kernel) ? block_reserve(16 << 10) : 512;
        const size_t step = block.kind == static_cast<uint16_t>(BlockKind::kernel) ? 288 : 216;
        const size_t good = (first_stale - start) * kSectorBytes;
        expected = good > payload + kSectorBytes ? (good - kSectorBytes - payload) / step : 0;
      }
      for (size_t i = from; i < from + expected; ++i) {
        // The interface is not looked at: its table may be among what is torn.
        const bool found =
            std::any_of(read->packets.begin(), read->packets.end(), [&](const TestPacket& packet) {
              return packet.data == now.packets[i].data && packet.time_ns == now.packets[i].time_ns;
            });
        REQUIRE(found);
      }
    }
  };
  for (size_t s = 1; s < sectors; ++s) {
    std::vector<bool> stale(sectors, false);
    stale[s] = true;  // one sector
    check(stale);
    for (size_t rest = s; rest < sectors; ++rest) stale[rest] = true;  // all from here
    check(stale);
    for (size_t other = 1; other < sectors; ++other) stale[other] = random() % 8 == 0;  // any
    check(stale);
    // Written behind a header that never came: with the old header nothing new is shown as old or
    // the other way round.
    std::fill(stale.begin(), stale.end(), false);
    for (size_t front = 0; front < s; ++front) stale[front] = true;
    const auto read = stale_or_new(stale);
    if (read) check_subsequence(read->packets, old.packets);
  }
}

TEST_CASE("a damaged block header costs that block, and the others stand") {
  const bool sealed = GENERATE(true, false);
  const Sample sample = make_sample(1, 100, sealed);
  Scratch file;
  std::string bytes = sample.bytes;
  bytes[size_t{sample.blocks[1].page} * kPageBytes + 20] ^= 1;
  file.set(bytes);
  const auto read = file.read();
  REQUIRE(read);
  CHECK(read->packets.size() == 60);
  // Without an index, what was lost may have been another table: the two blocks behind are in doubt.
  CHECK(read->damaged_blocks == (sealed ? 1 : 3));
  check_subsequence(read->packets, sample.packets);
  BlockWindow window = file.window();
  const auto contents = read_segment(window);
  REQUIRE(contents);
  CHECK(contents->sealed == sealed);
  if (!sealed) {
    REQUIRE(contents->damage.size() == 1);
    CHECK(contents->damage[0].start_ns == sample.blocks[0].last_ns - kKernelTimeSlackNs);
    CHECK(contents->damage[0].end_ns == sample.blocks[2].first_ns + kKernelTimeSlackNs + 1);
  }
}

TEST_CASE("packet bytes that look like a block are not taken for one") {
  // The payload repeats a whole block of its own segment, page-aligned, as only somebody who knew
  // the epoch could.
  const Sample sample = make_sample(1, 100, false);
  Scratch file;
  file.set(sample.bytes);
  BlockWindow window = file.window();
  const auto contents = read_segment(window);
  REQUIRE(contents);
  const auto found = find_block(window, 101, 0, sample.bytes.size());
  REQUIRE(found);
  CHECK(*found == sample.bytes.size());  // of another epoch there is none
}

TEST_CASE("what is not a segment is refused") {
  Scratch file;
  file.set("");
  CHECK_FALSE(file.read());
  file.set(std::string(10'000, 'x'));
  CHECK_FALSE(file.read());
  file.set(std::string(10'000, '\0'));
  CHECK_FALSE(file.read());
}
