#include <catch2/catch.hpp>

#include "archive/seek_table.hpp"
#include "lookback/archive/archive.hpp"
#include "unit/archive/support/samples.hpp"
#include "unit/support/files.hpp"
#include "unit/support/shell.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::archive;
using Catch::Contains;
using lookback::test::sample_content;
using lookback::test::sample_member;
using lookback::test::slurp;
using lookback::test::spill;
using lookback::test::TemporaryDirectory;

namespace {

constexpr const char* kFirst = "nodes/a/packets/00000000.pcapng";
constexpr const char* kSecond = "nodes/a/packets/00000001.pcapng";

Manifest sample_manifest() {
  Manifest manifest;
  manifest.name = "s";
  NodeEntry node;
  node.name = "a";
  node.status = "complete";
  manifest.nodes = {node};
  return manifest;
}

std::string small_archive(const TemporaryDirectory& dir) {
  auto writer = ArchiveWriter::create(dir / "working", 0).value();
  REQUIRE(writer.append(kFirst, "a", sample_member(sample_content(700, 1), 400)));
  REQUIRE(writer.append(kSecond, "a", sample_member(sample_content(300, 2), 400)));
  REQUIRE(writer.commit(sample_manifest(), dir / "small.tar.zst"));
  return slurp(dir / "small.tar.zst");
}

std::string verdict(const TemporaryDirectory& dir, const std::string& bytes) {
  spill(dir / "judged", bytes);
  const auto report = verify_archive(dir / "judged");
  if (report) return "sound";
  if (report.error().kind != ErrorKind::failed) REQUIRE(report.error().kind == ErrorKind::corrupt);
  return report.error().message;
}

/// Archives by hand: any frames, any table.
class Forge {
 public:
  void frame(std::string_view content) {
    std::vector<std::byte> out;
    const size_t length = encoder_.encode(as_bytes(content), out);
    raw(as_text(out), length, content.size());
  }
  void raw(std::string_view bytes, size_t compressed, size_t content) {
    file_ += bytes;
    sizes_.push_back({static_cast<uint32_t>(compressed), static_cast<uint32_t>(content)});
    content_ += content;
  }
  /// A tar header of any name, also of one that Lookback would not write.
  void header(const std::string& name, size_t size) {
    std::string block(as_text(encode_tar_header({std::string(name.size(), 'x'), size, 0})));
    block.replace(0, name.size(), name);
    block.replace(148, 8, 8, ' ');
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    block.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    frame(block);
  }
  void padding(size_t size) {
    if (tar_padding(size) != 0) frame(std::string(tar_padding(size), '\0'));
  }
  /// The entry that a manifest would have for one frame of `content` put next.
  MemberEntry member(const std::string& name, const std::string& content) {
    header(name, content.size());
    MemberEntry entry{name, "a", file_.size(), content_, content.size(), sha256_hex(as_bytes(content)), 0, {}};
    const size_t before = file_.size();
    frame(content);
    entry.frames = {{file_.size() - before, content.size(), 0, 0, 0, ""}};
    padding(content.size());
    return entry;
  }
  std::string finish(Manifest manifest) {
    const std::string text = manifest.to_json();
    header("manifest.json", text.size());
    frame(text);
    padding(text.size());
    frame(std::string(1024, '\0'));
    return closed();
  }
  std::string closed() { return file_ + std::string(as_text(encode_seek_table(sizes_))); }
  std::string& file() { return file_; }

 private:
  FrameEncoder encoder_;
  std::string file_;
  std::vector<FrameSizes> sizes_;
  uint64_t content_ = 0;
};

}  // namespace

TEST_CASE("every truncation of an archive is found") {
  TemporaryDirectory dir;
  const std::string whole = small_archive(dir);
  REQUIRE(verdict(dir, whole) == "sound");
  for (size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    spill(dir / "judged", whole.substr(0, length));
    REQUIRE_FALSE(verify_archive(dir / "judged"));
    const auto reader = ArchiveReader::open(dir / "judged");
    REQUIRE_FALSE(reader);
    REQUIRE_THAT(reader.error().message, Contains("fetch it again"));
  }
  REQUIRE_THAT(verdict(dir, whole.substr(0, whole.size() / 2)), Contains("cut short"));
  for (const std::string& more : {std::string("\0", 1), std::string("x"), std::string(4096, '\0'), whole})
    REQUIRE(verdict(dir, whole + more) != "sound");
  REQUIRE(verdict(dir, "x" + whole) != "sound");
}

TEST_CASE("every flipped bit of an archive is found", "[single-threaded]") {
  TemporaryDirectory dir;
  const std::string whole = small_archive(dir);
  const auto reader = ArchiveReader::open(dir / "small.tar.zst").value();
  const MemberEntry& second = reader->manifest().members[1];
  std::vector<size_t> harmless;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const std::string message = verdict(dir, damaged);
      CAPTURE(at, bit, message);
      if (message == "sound") {
        // Compressed data can have two spellings of one content. Then nothing is lost, and tar unpacks the same.
        harmless.push_back(at);
        const auto same = test::run_shell(dir.path(), "zstd -q -dc judged >1 2>/dev/null && zstd -q -dc small.tar.zst >2 && cmp 1 2");
        REQUIRE(same.status == 0);
      } else if (at < reader->manifest().members[0].archive_offset + reader->manifest().members[0].frames[0].compressed_bytes) {
        REQUIRE_THAT(message, Contains(kFirst));
      } else if (at >= second.archive_offset && at < second.archive_offset + second.frames[0].compressed_bytes) {
        REQUIRE_THAT(message, Contains(kSecond));
      }
    }
  }
  CAPTURE(harmless);
  REQUIRE(harmless.size() < whole.size() / 10);
}

TEST_CASE("two members exchanged, left out, twice") {
  TemporaryDirectory dir;
  const std::string first(700, '1'), second(300, '2');
  {
    Forge forge;
    Manifest manifest = sample_manifest();
    manifest.members.push_back(forge.member("nodes/a/1", first));
    manifest.members.push_back(forge.member("nodes/a/2", second));
    const std::string honest = forge.finish(manifest);
    REQUIRE(verdict(dir, honest) == "sound");
  }
  {
    Forge forge;
    Manifest manifest = sample_manifest();
    manifest.members.push_back(forge.member("nodes/a/1", first));
    manifest.members.push_back(forge.member("nodes/a/2", second));
    std::swap(manifest.members[0], manifest.members[1]);
    REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("overlaps"));
  }
  {
    Forge forge;
    Manifest manifest = sample_manifest();
    manifest.members.push_back(forge.member("nodes/a/1", first));
    forge.member("nodes/a/2", second);
    REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("does not name"));
  }
  {
    Forge forge;
    Manifest manifest = sample_manifest();
    forge.member("../../x", second);  // in front, where the manifest is silent
    manifest.members.push_back(forge.member("nodes/a/1", first));
    REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("nodes/a/1"));
  }
  {
    Forge forge;
    Manifest manifest = sample_manifest();
    forge.header("nodes/a/renamed", 700);
    MemberEntry entry = Forge().member("nodes/a/1", first);
    entry.archive_offset = forge.file().size();
    forge.frame(first);
    forge.padding(700);
    manifest.members = {entry};
    REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("nodes/a/1") && Contains("renamed"));
  }
}

TEST_CASE("a smuggled tar header is found wherever it hides") {
  TemporaryDirectory dir;
  const std::string evil = std::string(as_text(encode_tar_header({"evil", 5, 0}))) + "evil!" + std::string(507, '\0');
  const std::string content(1024, 'c');
  {
    // Inside a frame that decodes to more than it declares to the manifest and the seek table.
    Forge forge;
    forge.header("nodes/a/1", content.size());
    MemberEntry entry{"nodes/a/1", "a", forge.file().size(), 512, content.size(), sha256_hex(as_bytes(content)), 0, {}};
    std::vector<std::byte> frame;
    const size_t length = FrameEncoder().encode(as_bytes(content + evil), frame);
    entry.frames = {{length, content.size(), 0, 0, 0, ""}};
    forge.raw(as_text(frame), length, content.size());
    Manifest manifest = sample_manifest();
    manifest.members = {entry};
    REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("nodes/a/1") && Contains("declared"));
  }
  {
    // In a header frame that holds two headers.
    Forge forge;
    forge.frame(std::string(as_text(encode_tar_header({"evil", 0, 0}))) + std::string(as_text(encode_tar_header({"nodes/a/1", content.size(), 0}))));
    MemberEntry entry{"nodes/a/1", "a", forge.file().size(), 1024, content.size(), sha256_hex(as_bytes(content)), 0, {}};
    const size_t before = forge.file().size();
    forge.frame(content);
    entry.frames = {{forge.file().size() - before, content.size(), 0, 0, 0, ""}};
    Manifest manifest = sample_manifest();
    manifest.members = {entry};
    REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("nodes/a/1"));
  }
  {
    // In a frame that the seek table hides as a part of its neighbour.
    Forge forge;
    Manifest manifest = sample_manifest();
    manifest.members.push_back(forge.member("nodes/a/1", content));
    std::vector<std::byte> frame;
    FrameEncoder().encode(as_bytes(evil), frame);
    forge.file() += as_text(frame);
    const std::string text = manifest.to_json();
    REQUIRE(verdict(dir, forge.finish(manifest)) != "sound");
  }
  {
    // Behind the end of the archive.
    Forge forge;
    Manifest manifest = sample_manifest();
    manifest.members.push_back(forge.member("nodes/a/1", content));
    forge.finish(manifest);
    forge.frame(evil);
    REQUIRE(verdict(dir, forge.closed()) != "sound");
  }
  {
    // In the padding.
    Forge forge;
    forge.header("nodes/a/1", 1);
    MemberEntry entry{"nodes/a/1", "a", forge.file().size(), 512, 1, sha256_hex(as_bytes("x")), 0, {}};
    const size_t before = forge.file().size();
    forge.frame("x");
    entry.frames = {{forge.file().size() - before, 1, 0, 0, 0, ""}};
    forge.frame(std::string(510, '\0') + "!");
    Manifest manifest = sample_manifest();
    manifest.members = {entry};
    REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("padding"));
  }
}

TEST_CASE("a seek table with checksums is read and held against the frames") {
  TemporaryDirectory dir;
  const std::string whole = small_archive(dir);
  const auto reader = ArchiveReader::open(dir / "small.tar.zst").value();
  // Rewrite our table into one with checksums, each the last four bytes of its frame.
  const auto number = [](uint64_t value) {
    std::string text;
    for (int i = 0; i < 4; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
    return text;
  };
  const auto source = open_file_source(dir / "small.tar.zst").value();
  const SeekTable table = SeekTable::open(*source).value();
  const auto entries = table.read(0, table.size()).value();
  const auto rebuilt = [&](int flip, char descriptor) {
    std::string body;
    uint64_t at = 0;
    for (const SeekEntry& entry : entries) {
      at += entry.compressed_bytes;
      std::string checksum = whole.substr(at - 4, 4);
      checksum[0] = static_cast<char>(checksum[0] ^ flip);
      body += number(entry.compressed_bytes) + number(entry.content_bytes) + checksum;
    }
    body += number(entries.size()) + descriptor + number(0x8F92EAB1);
    return whole.substr(0, table.offset()) + number(0x184D2A5E) + number(body.size()) + body;
  };
  REQUIRE(verdict(dir, rebuilt(0, '\x80')) == "sound");
  REQUIRE_THAT(verdict(dir, rebuilt(1, '\x80')), Contains(kFirst) && Contains("checksum"));
  REQUIRE(verdict(dir, rebuilt(0, '\x84')) != "sound");
  REQUIRE(verdict(dir, rebuilt(0, '\0')) != "sound");
}

TEST_CASE("files that are no archives") {
  TemporaryDirectory dir;
  REQUIRE(verify_archive(dir / "absent").error().kind == ErrorKind::not_found);
  REQUIRE(ArchiveReader::open(dir / "absent").error().kind == ErrorKind::not_found);
  REQUIRE_THAT(verdict(dir, ""), Contains("seek table"));
  REQUIRE_THAT(verdict(dir, std::string(100'000, 'x')), Contains("seek table"));
  // An archive that was unpacked and packed again has no seek table.
  small_archive(dir);
  const auto packed = test::run_shell(dir.path(), "zstd -q -dc small.tar.zst | zstd -q -o packed.tar.zst");
  REQUIRE(packed.status == 0);
  REQUIRE_THAT(verdict(dir, slurp(dir / "packed.tar.zst")), Contains("seek table"));
  // A table that claims millions of frames costs nothing.
  std::string claim(100, 'x');
  claim += std::string("\xff\xff\xff\x07\0\xb1\xea\x92\x8f", 9);
  REQUIRE_THAT(verdict(dir, claim), Contains("longer than the file"));
}

TEST_CASE("a manifest of another version is named before anything else") {
  TemporaryDirectory dir;
  Forge forge;
  Manifest manifest = sample_manifest();
  manifest.version = 2;
  REQUIRE_THAT(verdict(dir, forge.finish(manifest)), Contains("version 2") && Contains("newer"));
}
