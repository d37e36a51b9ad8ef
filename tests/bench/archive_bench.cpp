// What the archive costs: checking a member (the hub's main work), compressing frames against `zstd -1`, and verifying. CPU
// seconds per GB of content, runs interleaved, the median of each.
//
//   bench_archive [CAPTURE-FILE]      without a file: made-up traffic, half text, half random, in small and large packets
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "lookback/archive/archive.hpp"
#include "lookback/base/file.hpp"

using namespace lookback;
using namespace lookback::archive;

namespace {

constexpr size_t kFrame = 1 << 20, kMember = 8 << 20, kContent = 256 << 20;
constexpr int kRuns = 5;

double seconds_of(const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; }
double cpu_seconds(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

std::vector<std::byte> made_up_traffic() {
  static constexpr std::string_view kText =
      "GET /api/v1/orders?customer=4711&page=3 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8.1\r\nAccept: application/json\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 512\r\n\r\n{\"orders\":[{\"id\":1,\"total\":\"12.50\",\"state\":\"paid\"}]}";
  std::mt19937_64 random(7);
  std::vector<std::byte> content;
  content.reserve(kContent + 65536);
  uint64_t sequence = 0;
  while (content.size() < kContent) {
    // A header of which most bytes stay, then a payload.
    uint64_t header[8] = {0x0006001c0000006c, 1'700'000'000 + sequence / 1000, 0xaabb0242ac110002, 0x0800450005dc0000 + sequence,
                          0x0a0000010a000002 + random() % 50, 0x1f90c0de00000000 + sequence * 1448, 0x8018, random()};
    const auto bytes = std::as_bytes(std::span(header));
    content.insert(content.end(), bytes.begin(), bytes.end());
    const size_t length = random() % 3 == 0 ? 40 + random() % 200 : 1400;
    if (random() % 2 == 0) {
      for (size_t i = 0; i < length; ++i) content.push_back(static_cast<std::byte>(kText[(sequence * 31 + i) % kText.size()]));
    } else {
      for (size_t i = 0; i < length; i += 8) {
        const uint64_t word = random();
        const auto word_bytes = std::as_bytes(std::span(&word, 1));
        content.insert(content.end(), word_bytes.begin(), word_bytes.end());
      }
    }
    ++sequence;
  }
  content.resize(kContent);
  return content;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}
void must(const Result<>& result) {
  if (result) return;
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::byte> content;
  if (argc > 1) {
    const std::string bytes = must(read_file(argv[1], 2ULL << 30));
    content.assign(as_bytes(bytes).begin(), as_bytes(bytes).end());
  } else {
    content = made_up_traffic();
  }
  char folder[] = "/tmp/lookback-bench-XXXXXX";
  if (::mkdtemp(folder) == nullptr) return 1;
  const std::filesystem::path dir = folder;
  must(write_file_atomically(dir / "content", as_text(content)));
  const double gigabytes = static_cast<double>(content.size()) / 1e9;

  std::vector<double> encode, check, verify, peer, peer_decode, sha;
  size_t compressed = 0;
  uint64_t peer_size = 0;
  for (int run = 0; run < kRuns; ++run) {
    FrameEncoder encoder;
    std::vector<MemberContent> members;
    double start = cpu_seconds(RUSAGE_SELF);
    compressed = 0;
    for (size_t at = 0; at < content.size(); at += kMember) {
      MemberContent member;
      const auto part = std::span(content).subspan(at, std::min(kMember, content.size() - at));
      for (size_t frame = 0; frame < part.size(); frame += kFrame) {
        const auto bytes = part.subspan(frame, std::min(kFrame, part.size() - frame));
        const size_t length = encoder.encode(bytes, member.compressed);
        member.frames.push_back({length, bytes.size(), 0, 0, 0, ""});
      }
      compressed += member.compressed.size();
      member.size = part.size();
      members.push_back(std::move(member));
    }
    encode.push_back((cpu_seconds(RUSAGE_SELF) - start) / gigabytes);

    start = cpu_seconds(RUSAGE_SELF);
    for (size_t i = 0; i < members.size(); ++i)
      members[i].sha256 = sha256_hex(std::span(content).subspan(i * kMember, members[i].size));
    sha.push_back((cpu_seconds(RUSAGE_SELF) - start) / gigabytes);

    MemberChecker checker;
    start = cpu_seconds(RUSAGE_SELF);
    for (const MemberContent& member : members) must(checker.check(member));
    check.push_back((cpu_seconds(RUSAGE_SELF) - start) / gigabytes);

    auto writer = must(ArchiveWriter::create(dir / "working", 0));
    for (size_t i = 0; i < members.size(); ++i) must(writer.append(fmt::format("{:08}", i), "", members[i]));
    Manifest manifest;
    manifest.name = "bench";
    must(writer.commit(manifest, dir / "archive"));
    start = cpu_seconds(RUSAGE_SELF);
    must(verify_archive(dir / "archive"));
    verify.push_back((cpu_seconds(RUSAGE_SELF) - start) / gigabytes);
    std::filesystem::remove(dir / "archive");

    start = cpu_seconds(RUSAGE_CHILDREN);
    if (std::system(fmt::format("zstd -q -f -1 --single-thread {0}/content -o {0}/peer", dir.string()).c_str()) != 0) return 1;
    peer.push_back((cpu_seconds(RUSAGE_CHILDREN) - start) / gigabytes);
    peer_size = std::filesystem::file_size(dir / "peer");
    start = cpu_seconds(RUSAGE_CHILDREN);
    if (std::system(fmt::format("zstd -q -dc {0}/peer | sha256sum >/dev/null", dir.string()).c_str()) != 0) return 1;
    peer_decode.push_back((cpu_seconds(RUSAGE_CHILDREN) - start) / gigabytes);
  }
  std::filesystem::remove_all(dir);

  const double mb = static_cast<double>(content.size()) / 1e6;
  std::printf("content %.0f MB, compressed %.1f MB, by zstd -1 %.1f MB (%.3f)\n", mb, static_cast<double>(compressed) / 1e6,
              static_cast<double>(peer_size) / 1e6, static_cast<double>(compressed) / static_cast<double>(peer_size));
  const auto row = [](const char* what, double ours, const char* peer_name, double theirs) {
    std::printf("%-28s %6.3f CPU s/GB   %-28s %6.3f   ratio %.2f\n", what, ours, peer_name, theirs, ours / theirs);
  };
  row("FrameEncoder", median(encode), "zstd -1", median(peer));
  row("MemberChecker", median(check), "zstd -dc | sha256sum", median(peer_decode));
  row("verify_archive", median(verify), "zstd -dc | sha256sum", median(peer_decode));
  std::printf("SHA-256 alone %.3f CPU s/GB; FrameEncoder %.0f MB/s; MemberChecker target 0.5 CPU s/GB\n", median(sha), 1000 / median(encode));
  return 0;
}
