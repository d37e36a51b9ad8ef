#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lookback/archive/archive.hpp"
#include "lookback/base/hash.hpp"
#include "unit/archive/support/samples.hpp"
#include "unit/support/files.hpp"
#include "unit/support/shell.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::archive;
using Catch::Contains;
using lookback::test::run_shell;
using lookback::test::sample_content;
using lookback::test::sample_member;
using lookback::test::slurp;
using lookback::test::spill;
using lookback::test::TemporaryDirectory;

namespace {

constexpr int64_t kTime = 1'772'366'700'000'000'000;

struct Input {
  std::string path, node;
  std::vector<std::byte> content;
};

/// Members of all kinds: several frames, sizes on and off block borders, long names, nothing at all.
std::vector<Input> sample_inputs() {
  return {{"nodes/web-1/packets/00000000.pcapng", "web-1", sample_content(3000, 1)},
          {"nodes/web-1/packets/00000001.pcapng", "web-1", sample_content(1024, 2)},
          {"nodes/db/packets/00000000.pcapng", "db", sample_content(1, 3)},
          {"nodes/db/os-events/" + std::string(150, 'e') + ".ndjson", "db", sample_content(511, 4)},
          {"kubernetes/objects.ndjson", "", {}}};
}

Manifest sample_manifest() {
  Manifest manifest;
  manifest.name = "incident-1";
  manifest.id = "0123456789abcdef";
  manifest.created_by = "lookback test";
  manifest.created_ns = kTime;
  manifest.window = {kTime - 300 * kNsPerSecond, kTime};
  for (const char* name : {"db", "web-1"}) {
    NodeEntry node;
    node.name = name;
    node.status = "complete";
    manifest.nodes.push_back(node);
  }
  return manifest;
}

MemberContent member_of(const Input& input) { return sample_member(input.content, 1000); }

void append_all(ArchiveWriter& writer, const std::vector<Input>& inputs) {
  for (size_t i = writer.members().size(); i < inputs.size(); ++i)
    REQUIRE(writer.append(inputs[i].path, inputs[i].node, member_of(inputs[i])));
}

std::filesystem::path write_archive(const TemporaryDirectory& dir, const std::vector<Input>& inputs) {
  auto writer = ArchiveWriter::create(dir / "working", kTime).value();
  append_all(writer, inputs);
  const auto path = dir / "incident-1.tar.zst";
  const uint64_t size = writer.commit(sample_manifest(), path).value();
  REQUIRE(size == std::filesystem::file_size(path));
  return path;
}

/// The whole tar stream, by zstd.
std::string tar_stream(const TemporaryDirectory& dir, const std::string& file) {
  const auto run = run_shell(dir.path(), "zstd -q -dc " + file + " > stream.tar");
  REQUIRE(run.status == 0);
  return slurp(dir / "stream.tar");
}

}  // namespace

TEST_CASE("an archive is read by tar, zstd and sha256sum") {
  TemporaryDirectory dir;
  const auto inputs = sample_inputs();
  const auto path = write_archive(dir, inputs);
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  REQUIRE((st.st_mode & 07777) == 0400);
  REQUIRE_FALSE(std::filesystem::exists(dir / "working"));

  const auto tested = run_shell(dir.path(), "zstd -q -t incident-1.tar.zst && tar --zstd -tf incident-1.tar.zst");
  INFO(tested.output);
  REQUIRE(tested.status == 0);
  std::string expected;
  for (const Input& input : inputs) expected += input.path + "\n";
  REQUIRE(tested.output == expected + "manifest.json\n");  // and no warning

  const auto unpacked = run_shell(dir.path(), "mkdir out && tar --zstd -xf incident-1.tar.zst -C out && cd out && cat manifest.json >/dev/null && sha256sum " + inputs[0].path);
  INFO(unpacked.output);
  REQUIRE(unpacked.status == 0);
  REQUIRE(unpacked.output == sha256_hex(inputs[0].content) + "  " + inputs[0].path + "\n");
  for (const Input& input : inputs) REQUIRE(slurp(dir / ("out/" + input.path)) == as_text(input.content));
  const auto reader = ArchiveReader::open(path).value();
  REQUIRE(slurp(dir / "out/manifest.json") == reader->manifest().to_json());
  REQUIRE(tar_stream(dir, "incident-1.tar.zst").ends_with(std::string(1024, '\0')));
}

TEST_CASE("an archive is read by its manifest") {
  TemporaryDirectory dir;
  const auto inputs = sample_inputs();
  const auto reader = ArchiveReader::open(write_archive(dir, inputs)).value();
  const Manifest& manifest = reader->manifest();
  REQUIRE(manifest.name == "incident-1");
  REQUIRE(manifest.members.size() == inputs.size());
  REQUIRE(manifest.find_node("web-1")->bytes == 4024);
  REQUIRE(manifest.find_node("web-1")->packets == 50);
  const std::string stream = tar_stream(dir, "incident-1.tar.zst");
  FrameDecoder decoder;
  std::vector<std::byte> compressed, content;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const MemberEntry& member = manifest.members[i];
    REQUIRE(reader->read_member(member).value() == inputs[i].content);
    REQUIRE(stream.substr(member.content_offset, member.size) == as_text(inputs[i].content));
    size_t at = 0;
    for (size_t frame = 0; frame < member.frames.size(); ++frame) {
      REQUIRE(reader->read_frame(member, frame, decoder, compressed, content));
      REQUIRE(std::equal(content.begin(), content.end(), inputs[i].content.begin() + static_cast<ptrdiff_t>(at)));
      at += content.size();
    }
  }
  const auto report = verify_archive(dir / "incident-1.tar.zst").value();
  REQUIRE(report.members == inputs.size());
  REQUIRE(report.content_bytes == 3000 + 1024 + 1 + 511);
  REQUIRE(report.file_bytes == reader->file_bytes());
  uint64_t last = 0;
  REQUIRE(verify_archive(dir / "incident-1.tar.zst", [&](uint64_t done, uint64_t total) {
    REQUIRE(done >= last);
    REQUIRE(total == reader->file_bytes());
    last = done;
  }));
  REQUIRE(last == reader->file_bytes());
}

TEST_CASE("an archive without members, and content that is not compressed yet") {
  TemporaryDirectory dir;
  auto writer = ArchiveWriter::create(dir / "working", kTime).value();
  REQUIRE(writer.commit(sample_manifest(), dir / "empty.tar.zst"));
  REQUIRE(verify_archive(dir / "empty.tar.zst").value().members == 0);
  REQUIRE(run_shell(dir.path(), "tar --zstd -tf empty.tar.zst").output == "manifest.json\n");

  const auto content = sample_content(3 << 20);
  auto plain = ArchiveWriter::create(dir / "working", kTime).value();
  const auto entry = plain.append_plain("kubernetes/objects.ndjson", "", content).value();
  REQUIRE(entry.frames.size() == 3);
  REQUIRE(plain.commit(sample_manifest(), dir / "plain.tar.zst"));
  const auto reader = ArchiveReader::open(dir / "plain.tar.zst").value();
  REQUIRE(reader->read_member(reader->manifest().members[0]).value() == content);
  REQUIRE(verify_archive(dir / "plain.tar.zst"));
}

TEST_CASE("a manifest of many frames, whatever its length", "[single-threaded]") {
  TemporaryDirectory dir;
  // Lengths around the borders of tar blocks and manifest frames: what the search from behind must tell apart.
  // Gaps fill it up, as many as go in, and a tag what is left.
  const auto of_length = [](size_t length) {
    Manifest manifest = sample_manifest();
    manifest.tags["filling"] = "";
    const Gap gap{kTime, kTime, 0, std::string(3500, 'x')};
    auto& gaps = manifest.nodes.at(0).gaps;
    gaps.assign(2, gap);
    const size_t two = manifest.to_json().size();
    gaps.push_back(gap);
    const size_t each = manifest.to_json().size() - two;
    gaps.clear();
    if (two <= length) gaps.assign(2 + (length - two) / each, gap);
    manifest.tags["filling"] = std::string(length - manifest.to_json().size(), 'x');
    return manifest;
  };
  for (const size_t length : {size_t{4096}, size_t{4097}, size_t{1} << 20, (size_t{1} << 20) + 1, (size_t{1} << 20) + 511, (size_t{1} << 20) + 512,
                              (size_t{1} << 20) + 513, size_t{2} << 20, (size_t{2} << 20) + 512, (size_t{3} << 20) - 100}) {
    CAPTURE(length);
    Manifest manifest = of_length(length);
    REQUIRE(manifest.to_json().size() == length);
    auto writer = ArchiveWriter::create(dir / "working", kTime).value();
    REQUIRE(writer.append("nodes/db/x", "db", sample_member(sample_content(512), 512)));  // a 512-byte frame in front
    REQUIRE(writer.commit(manifest, dir / "a.tar.zst"));
    REQUIRE(verify_archive(dir / "a.tar.zst"));
    REQUIRE(ArchiveReader::open(dir / "a.tar.zst").value()->manifest().tags == manifest.tags);
    std::filesystem::remove(dir / "a.tar.zst");
  }
}

TEST_CASE("nothing is overwritten") {
  TemporaryDirectory dir;
  spill(dir / "taken.tar.zst", "precious");
  auto writer = ArchiveWriter::create(dir / "working", kTime).value();
  append_all(writer, sample_inputs());
  const auto refused = writer.commit(sample_manifest(), dir / "taken.tar.zst");
  REQUIRE_FALSE(refused);
  REQUIRE(refused.error().kind == ErrorKind::conflict);
  REQUIRE(slurp(dir / "taken.tar.zst") == "precious");
  REQUIRE(std::filesystem::exists(dir / "working"));
  REQUIRE(writer.commit(sample_manifest(), dir / "free.tar.zst"));
  REQUIRE(verify_archive(dir / "free.tar.zst"));

  // A manifest that a reader would refuse is not published, and nothing is lost by it.
  auto again = ArchiveWriter::create(dir / "working", kTime).value();
  append_all(again, sample_inputs());
  const uint64_t before = again.bytes_written();
  Manifest wrong = sample_manifest();
  wrong.nodes.clear();
  REQUIRE_FALSE(again.commit(wrong, dir / "wrong.tar.zst"));
  REQUIRE_FALSE(std::filesystem::exists(dir / "wrong.tar.zst"));
  REQUIRE(again.bytes_written() == before);
  REQUIRE(std::filesystem::file_size(dir / "working") == before);
  REQUIRE(again.commit(sample_manifest(), dir / "right.tar.zst"));
  REQUIRE(slurp(dir / "right.tar.zst") == slurp(dir / "free.tar.zst"));
}

TEST_CASE("members with impossible names are not appended") {
  TemporaryDirectory dir;
  auto writer = ArchiveWriter::create(dir / "working", kTime).value();
  const auto member = sample_member(sample_content(10), 10);
  REQUIRE(writer.append("nodes/a/x", "a", member));
  for (const auto& [path, node] : std::vector<std::pair<std::string, std::string>>{
           {"../../x", ""}, {"/x", ""}, {"nodes/a/x", "a"}, {"nodes/b/x", "a"}, {"manifest.json", ""}, {"", ""}}) {
    CAPTURE(path);
    const auto refused = writer.append(path, node, member);
    REQUIRE_FALSE(refused);
    REQUIRE(refused.error().kind == ErrorKind::invalid);
  }
  MemberContent wrong = member;
  wrong.compressed.pop_back();
  const uint64_t before = writer.bytes_written();
  REQUIRE_FALSE(writer.append("nodes/a/y", "a", wrong));
  REQUIRE(writer.bytes_written() == before);
  REQUIRE(writer.append("nodes/a/y", "a", member));
  REQUIRE(writer.members().size() == 2);
}

TEST_CASE("a full disk leaves the archive as it was") {
  TemporaryDirectory dir;
  auto writer = ArchiveWriter::create(dir / "working", kTime).value();
  const auto inputs = sample_inputs();
  append_all(writer, inputs);
  // A limit on the file's size fails in the same place as a full disk.
  const auto big = sample_member(sample_content(2 << 20), 1 << 20);
  struct Limit {
    rlimit old{};
    explicit Limit(rlim_t bytes) {
      ::signal(SIGXFSZ, SIG_IGN);
      ::getrlimit(RLIMIT_FSIZE, &old);
      const rlimit limit{bytes, old.rlim_max};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~Limit() { ::setrlimit(RLIMIT_FSIZE, &old); }
  };
  {
    const Limit limit(writer.bytes_written() + 100'000);
    REQUIRE_FALSE(writer.append("nodes/db/big", "db", big));
  }
  {
    const Limit limit(writer.bytes_written() + 100);
    REQUIRE_FALSE(writer.commit(sample_manifest(), dir / "a.tar.zst"));
  }
  REQUIRE_FALSE(std::filesystem::exists(dir / "a.tar.zst"));
  REQUIRE(writer.commit(sample_manifest(), dir / "a.tar.zst"));
  TemporaryDirectory other;
  REQUIRE(slurp(dir / "a.tar.zst") == slurp(write_archive(other, inputs)));
}

TEST_CASE("a writer killed at any moment goes on to the same bytes") {
  TemporaryDirectory dir;
  const auto inputs = sample_inputs();
  const std::string whole = slurp(write_archive(dir, inputs));
  std::vector<MemberEntry> entries;
  std::vector<uint64_t> ends{0};
  {
    auto writer = ArchiveWriter::create(dir / "lengths", kTime).value();
    for (const Input& input : inputs) {
      entries.push_back(writer.append(input.path, input.node, member_of(input)).value());
      ends.push_back(writer.bytes_written());
    }
  }
  const auto resumed = [&](const std::string& left_over, size_t remembered) {
    spill(dir / "working", left_over);
    auto writer = ArchiveWriter::resume(dir / "working", kTime, {entries.begin(), entries.begin() + static_cast<ptrdiff_t>(remembered)}).value();
    REQUIRE(writer.bytes_written() == ends[remembered]);
    REQUIRE(std::filesystem::file_size(dir / "working") == ends[remembered]);
    REQUIRE(writer.members().size() == remembered);
    append_all(writer, inputs);
    REQUIRE(writer.sync());
    REQUIRE(writer.commit(sample_manifest(), dir / "again.tar.zst"));
    REQUIRE(slurp(dir / "again.tar.zst") == whole);
    std::filesystem::remove(dir / "again.tar.zst");
  };
  for (size_t remembered = 0; remembered <= inputs.size(); ++remembered) {
    CAPTURE(remembered);
    resumed(whole.substr(0, ends[remembered]), remembered);
    resumed(whole, remembered);  // even the manifest was there already
    resumed(whole.substr(0, ends[remembered]) + std::string(5000, '\0'), remembered);
    resumed(whole.substr(0, ends[remembered]) + std::string(5000, '\xff'), remembered);
    for (uint64_t length = ends[remembered]; length < std::min<uint64_t>(whole.size(), ends[remembered] + 3000); length += 97)
      resumed(whole.substr(0, length), remembered);
  }
  // What was remembered but is not there is said, not written over.
  for (size_t remembered = 1; remembered <= inputs.size(); ++remembered) {
    for (const uint64_t length : {uint64_t{0}, ends[remembered] / 2, ends[remembered] - 1}) {
      spill(dir / "working", whole.substr(0, length));
      const auto refused = ArchiveWriter::resume(dir / "working", kTime, {entries.begin(), entries.begin() + static_cast<ptrdiff_t>(remembered)});
      REQUIRE_FALSE(refused);
      REQUIRE(refused.error().kind == ErrorKind::corrupt);
      REQUIRE(slurp(dir / "working") == whole.substr(0, length));
    }
  }
  // Neither are entries of another archive.
  auto other = entries;
  other[1].name = "nodes/web-1/packets/00000009.pcapng";
  spill(dir / "working", whole);
  REQUIRE_FALSE(ArchiveWriter::resume(dir / "working", kTime, other));
  other = {entries[0], entries[2]};
  REQUIRE_FALSE(ArchiveWriter::resume(dir / "working", kTime, other));
  other = {entries[0], entries[0]};
  REQUIRE_FALSE(ArchiveWriter::resume(dir / "working", kTime, other));
  REQUIRE_FALSE(ArchiveWriter::resume(dir / "working", kTime + kNsPerSecond, entries));
  REQUIRE(slurp(dir / "working") == whole);
}
