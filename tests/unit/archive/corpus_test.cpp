// Writes the fuzz targets' seeds anew: LOOKBACK_CORPUS=tests/fuzz/corpus test_archive [corpus]
#include <catch2/catch.hpp>
#include <cstdlib>

#include "lookback/archive/archive.hpp"
#include "unit/archive/support/samples.hpp"
#include "unit/support/files.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::archive;
using lookback::test::sample_content;
using lookback::test::sample_member;

namespace {

void seed(const std::string& target, const std::string& name, std::string_view bytes) {
  const auto folder = std::filesystem::path(std::getenv("LOOKBACK_CORPUS")) / target;
  std::filesystem::create_directories(folder);
  test::spill(folder / name, bytes);
}

}  // namespace

TEST_CASE("the seeds of the archive's fuzz targets", "[.][corpus]") {
  REQUIRE(std::getenv("LOOKBACK_CORPUS") != nullptr);
  seed("tar", "plain", as_text(encode_tar_header({"nodes/a/packets/00000000.pcapng", 12345, 1'700'000'000})));
  seed("tar", "prefix", as_text(encode_tar_header({std::string(120, 'p') + "/" + std::string(80, 'n'), 1, 2})));
  seed("tar", "pax_path", as_text(encode_tar_header({std::string(200, 'n'), 1, 2})));
  seed("tar", "pax_size", as_text(encode_tar_header({"big", uint64_t{1} << 40, 2})));

  FrameEncoder encoder;
  for (const size_t size : {0, 1, 300, 5000}) {
    std::vector<std::byte> frame;
    encoder.encode(sample_content(size), frame);
    seed("zstd_frame", fmt::format("content_{}", size), as_text(frame));
  }
  std::vector<std::byte> zeros;
  encoder.encode(std::vector<std::byte>(1 << 20), zeros);
  seed("zstd_frame", "zeros", as_text(zeros));

  for (const size_t size : {0, 100, 3000}) {
    const auto member = sample_member(sample_content(size), 1000);
    auto wire = encode_member_header(member);
    wire.insert(wire.end(), member.compressed.begin(), member.compressed.end());
    seed("member", fmt::format("content_{}", size), as_text(wire));
  }

  Manifest manifest;
  manifest.name = "s";
  seed("manifest", "bare.json", manifest.to_json());
  NodeEntry node;
  node.name = "a";
  node.status = "partial";
  node.reason = "recycled";
  node.coverage = TimeWindow{1, 2};
  node.gaps = {{1, 2, 3, "kernel ring full"}};
  node.clock = {{1, -2'000'000, 100'000, 0}, {5, 0, 100'000, -7}};
  node.interfaces = {{"eth0", 1, "02:42:ac:11:00:02"}};
  manifest.nodes = {node};
  manifest.tags = {{"k", "v"}};
  manifest.ip_filter = {"10.0.0.0/8"};

  test::TemporaryDirectory dir;
  auto writer = ArchiveWriter::create(dir / "working", 0).value();
  REQUIRE(writer.commit(manifest, dir / "empty"));
  seed("archive_reader", "empty.tar.zst", test::slurp(dir / "empty"));
  auto full = ArchiveWriter::create(dir / "working", 0).value();
  seed("manifest", "member.json",
       member_to_json(full.append("nodes/a/packets/00000000.pcapng", "a", sample_member(sample_content(700), 400)).value()));
  REQUIRE(full.append("nodes/a/packets/00000001.pcapng", "a", sample_member(sample_content(512), 400)));
  REQUIRE(full.append_plain("kubernetes/events.ndjson", "", as_bytes("{}\n")));
  REQUIRE(full.commit(manifest, dir / "full"));
  seed("archive_reader", "full.tar.zst", test::slurp(dir / "full"));
  seed("manifest", "full.json", ArchiveReader::open(dir / "full").value()->manifest().to_json());
}
