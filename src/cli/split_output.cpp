#include "cli/split_output.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "lookback/packet/pcapng.hpp"

namespace lookback::cli {

namespace fs = std::filesystem;

namespace {

constexpr size_t kPcapHeader = 24, kPcapRecord = 16, kPcapCaptured = 8;
constexpr size_t kPcapngBlock = 12;  // type and both lengths
constexpr size_t kMostRecord = 64 << 20;
constexpr size_t kBufferBytes = 1 << 20;

uint32_t word(std::span<const std::byte> data, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, data.data() + at, sizeof value);
  return value;
}

}  // namespace

Result<SplitOutput> SplitOutput::open(const std::string& path, uint64_t limit_bytes) {
  if (path == "-")
    return fail(ErrorKind::invalid,
                "--split-size makes several files, which standard output is not: give -o FILE");
  std::error_code ec;
  const auto status = fs::status(path, ec);
  if (fs::exists(status) && !fs::is_regular_file(status))
    return fail(ErrorKind::invalid, "--split-size makes several files beside {}, which is not a file",
                path);
  if (fs::path(path).filename().empty())
    return fail(ErrorKind::invalid, "'{}' is not the name of a file", path);
  SplitOutput out;
  out.path_ = path;
  out.limit_ = limit_bytes;
  return out;
}

fs::path SplitOutput::path_of(uint32_t number) const {
  return path_.parent_path() /
         fmt::format("{}_{:05}{}", path_.stem().string(), number, path_.extension().string());
}

std::string SplitOutput::name() const {
  const std::string first = path_of(1).string();
  return files_ < 2 ? first : fmt::format("{} to {}", first, path_of(files_).string());
}

std::optional<fs::path> SplitOutput::left_over() const {
  std::error_code ec;
  const fs::path next = path_of(files_ + 1);
  return fs::exists(next, ec) ? std::optional(next) : std::nullopt;
}

Result<size_t> SplitOutput::record_bytes(std::span<const std::byte> at) const {
  size_t length = 0;
  if (format_ == Format::unknown) return 0;
  if (format_ == Format::pcapng) {
    if (at.size() < 8) return 0;
    length = word(at, 4);
    if (length < kPcapngBlock) return fail(ErrorKind::corrupt, "a block of {} bytes", length);
  } else if (preamble_.empty()) {
    length = kPcapHeader;
  } else {
    if (at.size() < kPcapRecord) return 0;
    length = kPcapRecord + size_t{word(at, kPcapCaptured)};
  }
  if (length > kMostRecord) return fail(ErrorKind::corrupt, "a record of {} bytes", length);
  return length;
}

Result<> SplitOutput::write(std::span<const std::byte> data) {
  pending_.insert(pending_.end(), data.begin(), data.end());
  std::span<const std::byte> rest = pending_;
  for (;;) {
    if (format_ == Format::unknown && rest.size() >= sizeof(uint32_t)) {
      format_ = word(rest, 0) == packet::kPcapngSectionHeader ? Format::pcapng : Format::pcap;
    }
    auto length = record_bytes(rest);
    if (!length) return tl::make_unexpected(length.error().in("the export cannot be split"));
    if (*length == 0 || *length > rest.size()) break;
    TRY(take(rest.first(*length)));
    rest = rest.subspan(*length);
  }
  pending_.erase(pending_.begin(), pending_.end() - static_cast<ptrdiff_t>(rest.size()));
  return {};
}

Result<> SplitOutput::take(std::span<const std::byte> record) {
  bool is_packet = false, is_statistics = false;
  if (format_ == Format::pcap) {
    is_packet = !preamble_.empty();
  } else {
    is_packet = word(record, 0) == packet::kPcapngEnhancedPacket;
    is_statistics = word(record, 0) == packet::kPcapngStatistics;
  }
  if (!is_packet && !is_statistics) {  // it goes in front of the next packet, in this file or the next
    if (preamble_.size() + record.size() > kMostRecord)
      return fail(ErrorKind::corrupt, "the export cannot be split: it describes more than it should");
    preamble_.insert(preamble_.end(), record.begin(), record.end());
    return {};
  }
  const uint64_t more = preamble_.size() - described_ + record.size();
  if (is_packet && has_packets_ && file_bytes_ + more > limit_) TRY(close_file());
  TRY(describe());
  has_packets_ = has_packets_ || is_packet;
  return put(record);
}

/// Begins a file where there is none, and writes what it lacks of the preamble.
Result<> SplitOutput::describe() {
  if (!file_) {
    TRY_ASSIGN(OutputFile file, OutputFile::open(path_of(files_ + 1).string()));
    file_.emplace(std::move(file));
    ++files_;
    file_bytes_ = 0;
    described_ = 0;
    has_packets_ = false;
  }
  const auto missing = std::span(preamble_).subspan(std::exchange(described_, preamble_.size()));
  return put(missing);
}

Result<> SplitOutput::put(std::span<const std::byte> data) {
  bytes_ += data.size();
  file_bytes_ += data.size();
  buffer_.insert(buffer_.end(), data.begin(), data.end());
  if (buffer_.size() < kBufferBytes) return {};
  TRY(file_->write(buffer_));
  buffer_.clear();
  return {};
}

Result<> SplitOutput::close_file() {
  if (!file_) return {};
  TRY(file_->write(buffer_));
  buffer_.clear();
  TRY(file_->commit(/*durable=*/false));
  file_.reset();
  described_ = 0;
  has_packets_ = false;
  return {};
}

Result<> SplitOutput::finish() {
  if (!pending_.empty()) return fail(ErrorKind::corrupt, "the export ends inside a packet");
  TRY(describe());
  return close_file();
}

}  // namespace lookback::cli
