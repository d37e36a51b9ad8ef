#include <catch2/catch.hpp>

#include "lookback/archive/tar.hpp"
#include "lookback/base/fd.hpp"
#include "unit/support/files.hpp"
#include "unit/support/shell.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::archive;
using Catch::Contains;

namespace {

std::string long_name(size_t components, size_t length) {
  std::string name;
  for (size_t i = 0; i < components; ++i) name += (i == 0 ? "" : "/") + std::string(length, static_cast<char>('a' + i % 26));
  return name;
}

}  // namespace

TEST_CASE("tar headers come back as they were") {
  for (const std::string& name :
       {std::string("manifest.json"), std::string("nodes/web-1/packets/00000000.pcapng"), std::string(100, 'n'), std::string(101, 'n'),
        long_name(2, 60), long_name(2, 100), long_name(3, 100), long_name(10, 101), std::string(kMaxMemberName, 'x'), std::string("a/") + std::string(100, 'b'),
        std::string(155, 'p') + "/" + std::string(100, 'q'), std::string(156, 'p') + "/" + std::string(100, 'q')}) {
    for (const uint64_t size : {uint64_t{0}, uint64_t{511}, (uint64_t{1} << 33) - 1, uint64_t{1} << 33, uint64_t{1} << 50}) {
      CAPTURE(name, size);
      const TarHeader header{name, size, 1'700'000'000};
      const auto blocks = encode_tar_header(header);
      REQUIRE(blocks.size() % kTarBlock == 0);
      REQUIRE(blocks.size() <= kMaxTarHeader);
      REQUIRE(parse_tar_header(blocks).value() == header);
    }
  }
  REQUIRE(encode_tar_header({"nodes/web-1/packets/00000000.pcapng", 1 << 20, 0}).size() == kTarBlock);
  REQUIRE(parse_tar_header(encode_tar_header({"a", 0, -5})).value().mtime_seconds == 0);
}

TEST_CASE("tar reads our headers") {
  test::TemporaryDirectory dir;
  const std::vector<std::string> names{"short", "folder/" + std::string(99, 'n'), long_name(2, 120), long_name(4, 150)};
  std::string stream;
  for (const std::string& name : names) {
    const std::string content = "content of " + name;
    stream += as_text(encode_tar_header({name, content.size(), 1'700'000'000}));
    stream += content + std::string(tar_padding(content.size()), '\0');
  }
  stream += std::string(kTarEndBytes, '\0');
  test::spill(dir / "a.tar", stream);
  const auto listed = test::run_shell(dir.path(), "TZ=UTC tar -tvf a.tar");
  INFO(listed.output);
  REQUIRE(listed.status == 0);
  REQUIRE_THAT(listed.output, Contains("-r--r--r-- 0/0"));
  REQUIRE_THAT(listed.output, Contains("2023-11-14 22:13 short\n"));
  REQUIRE_THAT(listed.output, !Contains("tar:"));
  const auto unpacked = test::run_shell(dir.path(), "mkdir out && tar -xf a.tar -C out");
  INFO(unpacked.output);
  REQUIRE(unpacked.status == 0);
  REQUIRE(unpacked.output.empty());
  for (const std::string& name : names) REQUIRE(test::slurp(dir / ("out/" + name)) == "content of " + name);
}

TEST_CASE("names that leave the folder") {
  for (const char* name : {"", "/etc/passwd", "../x", "../../x", "a/../b", "a/..", "a//b", "a/", "./a", "a/.", ".", "..", "a\\b", "a\nb", "a\tb", "\xc3\xa4"}) {
    CAPTURE(name);
    REQUIRE_FALSE(check_member_name(name));
  }
  REQUIRE_FALSE(check_member_name(std::string(kMaxMemberName + 1, 'a')));
  for (const char* name : {"a", "a/b", "...", "..a", "nodes/n/packets/0.pcapng", "with space"}) {
    CAPTURE(name);
    REQUIRE(check_member_name(name));
  }
}

TEST_CASE("every flipped bit and every truncation of a tar header is found") {
  for (const TarHeader& header : {TarHeader{"nodes/a/packets/00000001.pcapng", 12345, 1'700'000'000}, TarHeader{long_name(4, 150), uint64_t{1} << 40, 7}}) {
    const auto blocks = encode_tar_header(header);
    for (size_t length = 0; length < blocks.size(); ++length) REQUIRE_FALSE(parse_tar_header(std::span(blocks).first(length)));
    for (size_t bit = 0; bit < blocks.size() * 8; ++bit) {
      auto damaged = blocks;
      damaged[bit / 8] ^= std::byte{1} << (bit % 8);
      CAPTURE(bit / 8);
      const auto parsed = parse_tar_header(damaged);
      // Pax records have no checksum of their own: there a flip can make another name or size, and the manifest tells.
      if (parsed) REQUIRE(!(*parsed == header));
    }
  }
}

TEST_CASE("headers that Lookback does not write") {
  const auto blocks = encode_tar_header({"a", 1, 2});
  auto more = blocks;
  more.insert(more.end(), blocks.begin(), blocks.end());
  REQUIRE_FALSE(parse_tar_header(more));
  REQUIRE_FALSE(parse_tar_header(std::vector<std::byte>(512)));
  REQUIRE_FALSE(parse_tar_header(std::vector<std::byte>(1024)));

  test::TemporaryDirectory dir;
  // Owners, modes and links of other programs' making; a symbolic link above all.
  const auto made = test::run_shell(dir.path(), "echo x >file && ln -s /etc/passwd link && tar --format=ustar -cf f.tar file && tar --format=ustar -cf l.tar link");
  INFO(made.output);
  REQUIRE(made.status == 0);
  for (const char* name : {"f.tar", "l.tar"}) {
    const std::string tar = test::slurp(dir / name);
    const auto parsed = parse_tar_header(as_bytes(tar).first(512));
    REQUIRE_FALSE(parsed);
    REQUIRE(parsed.error().kind == ErrorKind::corrupt);
  }
}
