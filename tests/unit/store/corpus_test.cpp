// Makes the seeds of the segment fuzzer; hidden, since they are made once:
//   LOOKBACK_CORPUS_DIR=tests/fuzz/corpus/segment build/dev/tests/test_store '[corpus]'
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "lookback/base/file.hpp"
#include "store/freeze_record.hpp"
#include "store/segment_writer.hpp"
#include "unit/store/support/store_fixture.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;

namespace {

std::string segment_bytes(bool sealed, bool kernel, bool compact, bool tag) {
  TemporaryDirectory dir;
  const auto path = dir.path() / "segment";
  constexpr off_t kCapacity = 64 << 10;
  PreparedFile file;
  file.fd = *open_file(path, O_RDWR | O_CREAT);
  file.bytes = kCapacity;
  REQUIRE(::ftruncate(file.fd.get(), kCapacity) == 0);
  BlockOutput output(false);
  AlignedBuffer scratch;
  SegmentHeader header;
  header.epoch = 1;
  header.sequence = 1;
  header.opened_ns = 1000;
  auto writer = SegmentWriter::start(
      std::move(file), header,
      R"({"interfaces":[{"index":2,"name":"eth0","link_type":1,"mac":"","mtu":1500}],)"
      R"("gaps":[{"start_ns":1,"end_ns":2,"packets":3,"reason":"x"}],)"
      R"("clock":[{"time_ns":1,"offset_ns":2,"error_ns":3,"step_ns":4}]})",
      output, scratch);
  REQUIRE(writer);
  std::vector<TestPacket> packets;
  for (uint16_t i = 0; i < 3; ++i) packets.push_back(marked_packet(7, i, 60, 1000 + i));
  if (kernel) {
    packets[0].interface = 2;
    const TestBlock made = kernel_block(packets, kPageBytes, {tag, 0x8100, 5});
    REQUIRE(writer->append(made.block, made.info));
    packets[0].interface = 0;
  }
  if (compact) {
    const TestBlock made = compact_block(packets);
    REQUIRE(writer->append(made.block, made.info));
  }
  const uint64_t end = writer->end();
  if (sealed) REQUIRE(writer->seal(5000, scratch));
  std::string bytes = *read_file(path);
  if (!sealed) bytes.resize(end);
  return bytes;
}

}  // namespace

TEST_CASE("seeds for the segment fuzzer", "[.][corpus]") {
  const char* directory = std::getenv("LOOKBACK_CORPUS_DIR");
  REQUIRE(directory != nullptr);
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(std::string(directory) + "/" + name, std::ios::binary) << bytes;
  };
  // The first byte says whether the fuzzer puts checksums right.
  for (const char mend : {'0', '1'}) {
    const std::string suffix = mend == '0' ? "" : "-mended";
    write("kernel" + suffix, mend + segment_bytes(true, true, false, false));
    write("kernel-vlan" + suffix, mend + segment_bytes(false, true, false, true));
    write("compact" + suffix, mend + segment_bytes(true, false, true, false));
    write("both-unsealed" + suffix, mend + segment_bytes(false, true, true, false));
  }
  Freeze freeze;
  freeze.id = "a";
  freeze.owner = "o";
  freeze.gaps = {{1, 2, 3, "x"}};
  freeze.clock = {{1, 2, 3, 4}};
  freeze.runs = {{"0000000000000001.lbs", 4096, 4096, 1, 2, 3, false}};
  write("freeze-record", freeze_to_json(freeze));
}
