#include "cli/split_output.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "lookback/base/file.hpp"
#include "lookback/packet/pcapng.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::cli;
using lookback::test::TemporaryDirectory;
namespace fs = std::filesystem;

namespace {

struct Seen {
  int64_t time_ns;
  std::string interface, data;
  friend bool operator==(const Seen&, const Seen&) = default;
};

std::vector<Seen> packets_of(const std::string& file) {
  size_t at = 0;
  auto reader = packet::CaptureReader::open([&](std::span<std::byte> buffer) -> Result<size_t> {
    const size_t bytes = std::min(buffer.size(), file.size() - at);
    std::memcpy(buffer.data(), file.data() + at, bytes);
    at += bytes;
    return bytes;
  });
  REQUIRE(reader);
  std::vector<Seen> seen;
  for (;;) {
    const auto next = reader->next();
    REQUIRE(next);
    if (!*next) return seen;
    const auto& view = (*next)->view;
    seen.push_back({view.time_ns, reader->interfaces()[view.interface].name,
                    std::string(as_text(view.data))});
  }
}

/// A capture of `count` packets of 1 to 200 bytes; a second interface is described in its middle.
std::string capture(bool pcapng, size_t count) {
  packet::Buffer out;
  if (pcapng) {
    packet::append_section_header(out, "test", "");
    packet::append_interface(out, {.name = "a", .description = {}, .link_type = 1, .snaplen = 0, .filter = {}, .os = {}});
  } else {
    packet::append_pcap_header(out, 1, 0);
  }
  std::vector<std::byte> data(200, std::byte{7});
  for (size_t i = 0; i < count; ++i) {
    if (pcapng && i == count / 2)
      packet::append_interface(out, {.name = "b", .description = {}, .link_type = 1, .snaplen = 0, .filter = {}, .os = {}});
    packet::PacketView view;
    view.time_ns = static_cast<int64_t>(i) * 1000;
    data[0] = static_cast<std::byte>(i);
    view.data = std::span(data).first(1 + i * 7 % 200);
    view.original_length = 1500;
    view.interface = pcapng && i >= count / 2 ? 1 : 0;
    if (pcapng)
      packet::append_packet(out, view);
    else
      packet::append_pcap_record(out, view);
  }
  if (pcapng) {
    packet::PcapngStatistics statistics;
    statistics.interface = 1;
    statistics.dropped = 5;
    packet::append_statistics(out, statistics);
  }
  return std::string(as_text(out));
}

}  // namespace

TEST_CASE("every part of a split export is a capture file, none above the limit") {
  const bool pcapng = GENERATE(true, false);
  const size_t piece = GENERATE(1, 7, 1000, 1 << 20);
  const uint64_t limit = GENERATE(1, 300, 2000, 1 << 30);
  CAPTURE(pcapng, piece, limit);
  const TemporaryDirectory directory;
  const std::string whole = capture(pcapng, 100);
  auto split = SplitOutput::open((directory / "x.cap").string(), limit);
  REQUIRE(split);
  for (size_t at = 0; at < whole.size(); at += piece)
    REQUIRE(split->write(as_bytes(std::string_view(whole).substr(at, piece))));
  REQUIRE(split->finish());
  std::vector<Seen> together;
  uint64_t bytes = 0;
  for (uint32_t number = 1; number <= split->files(); ++number) {
    const fs::path path = directory / fmt::format("x_{:05}.cap", number);
    const std::string text = read_file(path).value();
    const auto packets = packets_of(text);
    CHECK(!packets.empty());
    CHECK((text.size() <= limit || packets.size() == 1 || number == split->files()));
    together.insert(together.end(), packets.begin(), packets.end());
    bytes += text.size();
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
  }
  CHECK(together == packets_of(whole));
  CHECK(split->bytes() == bytes);
  CHECK((limit < 1 << 20) == (split->files() > 1));
  if (limit == 1) CHECK(split->files() == 100);
  CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) ==
        split->files());
}

TEST_CASE("an export without packets is one file, and what is left over is told") {
  const TemporaryDirectory directory;
  std::ofstream(directory / "x_00002.pcap") << "of an earlier export";
  const std::string whole = capture(false, 0);
  auto split = SplitOutput::open((directory / "x.pcap").string(), 1000);
  REQUIRE(split->write(as_bytes(whole)));
  REQUIRE(split->finish());
  CHECK(read_file(directory / "x_00001.pcap").value() == whole);
  CHECK(split->left_over() == directory / "x_00002.pcap");
}

TEST_CASE("an export that breaks off leaves the files that are whole") {
  const TemporaryDirectory directory;
  const std::string whole = capture(true, 50);
  {
    auto split = SplitOutput::open((directory / "x.pcapng").string(), 500);
    REQUIRE(split->write(as_bytes(std::string_view(whole).substr(0, whole.size() / 2 + 1))));
    CHECK(split->finish().error().kind == ErrorKind::corrupt);
  }
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    CHECK(!packets_of(read_file(entry.path()).value()).empty());
    ++files;
  }
  CHECK(files > 1);
}

TEST_CASE("what cannot be several files is refused") {
  const TemporaryDirectory directory;
  for (const std::string& path : {std::string("-"), std::string("/dev/null"), directory.path().string()}) {
    CAPTURE(path);
    const auto split = SplitOutput::open(path, 1000);
    REQUIRE_FALSE(split);
    CHECK(split.error().kind == ErrorKind::invalid);
  }
}
