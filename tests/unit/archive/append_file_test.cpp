#include "archive/append_file.hpp"

#include <catch2/catch.hpp>
#include <fcntl.h>

#include <random>

#include "lookback/base/file.hpp"
#include "unit/archive/support/samples.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using lookback::archive::AppendFile;
using lookback::test::sample_content;
using lookback::test::TemporaryDirectory;

namespace {

constexpr size_t kPage = 4096;

/// The file from its start to `end`; behind that, nothing but zeros up to the end of a page.
void check(const std::filesystem::path& path, const std::vector<std::byte>& expected) {
  auto text = read_file(path, 64 << 20).value();
  REQUIRE(text.size() >= expected.size());
  REQUIRE(text.size() < expected.size() + kPage);
  const std::string rest = text.substr(expected.size());
  REQUIRE(rest == std::string(rest.size(), '\0'));
  text.resize(expected.size());
  REQUIRE((text == as_text(expected)));
}

}  // namespace

TEST_CASE("a file is put together of pieces of any size") {
  // On a disk, and where there is no direct I/O.
  for (const char* folder : {"", "/dev/shm"}) {
    TemporaryDirectory own;
    const std::filesystem::path path = std::filesystem::path(*folder != 0 ? std::filesystem::path(folder) : own.path()) /
                                       fmt::format("lookback-append-{}", random_hex(6));
    std::mt19937_64 rng(7);
    std::vector<std::byte> expected;
    {
      AppendFile file(open_file(path, O_RDWR | O_CREAT | O_TRUNC, 0600).value());
      for (int i = 0; i < 300; ++i) {
        // Now and then what was put last is taken back: all of it, or some.
        if (rng() % 5 == 0) expected.resize(expected.size() - rng() % (expected.size() / (rng() % 4 + 1) + 1));
        const auto piece = sample_content(rng() % 3 == 0 ? rng() % (3 << 20) / (1 + rng() % 20) : rng() % 9000, static_cast<uint32_t>(i));
        REQUIRE(file.put(piece, expected.size()));
        expected.insert(expected.end(), piece.begin(), piece.end());
        if (rng() % 8 == 0) {
          REQUIRE(file.flush(expected.size()));
          REQUIRE(::ftruncate(file.fd(), static_cast<off_t>(expected.size())) == 0);
          check(path, expected);
        }
      }
      REQUIRE(file.flush(expected.size()));
      // What was taken back after it went to the file is cut off by whoever ends the file.
      REQUIRE(::ftruncate(file.fd(), static_cast<off_t>(expected.size())) == 0);
    }
    check(path, expected);

    // Another one goes on in the middle of a page.
    expected.resize(expected.size() / 2 + 77);
    {
      AppendFile file(open_file(path, O_RDWR).value());
      const auto piece = sample_content(12345, 9);
      REQUIRE(file.put(piece, expected.size()));
      expected.insert(expected.end(), piece.begin(), piece.end());
      REQUIRE(file.flush(expected.size()));
      REQUIRE(::ftruncate(file.fd(), static_cast<off_t>(expected.size())) == 0);
    }
    check(path, expected);
    std::filesystem::remove(path);
  }
}

TEST_CASE("a file that cannot be gone on with says so, and can be tried again") {
  TemporaryDirectory folder;
  const auto path = folder.path() / "file";
  AppendFile file(open_file(path, O_RDWR | O_CREAT, 0600).value());
  const auto piece = sample_content(100);
  REQUIRE(file.put(piece, 5000).error().kind == ErrorKind::corrupt);  // nothing stands in front of it
  REQUIRE(file.put(piece, 0));
  REQUIRE(file.flush(100));
  check(path, piece);
}
