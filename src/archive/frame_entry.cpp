#include "archive/frame_entry.hpp"

#include <algorithm>
#include <iterator>
#include <optional>

#include "lookback/archive/frame.hpp"

namespace lookback::archive {

namespace {

constexpr size_t kMaxSummaryText = 32 << 10;

bool is_graphic(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; });
}

Result<FrameEntry> frame_from_json(const Json& row) {
  // More elements than six are room for later versions.
  if (!row.is_array() || row.size() < 6) return fail(ErrorKind::corrupt, "a frame is not an array of six");
  const auto number = [&](size_t at) -> std::optional<uint64_t> {
    if (!row[at].is_number_unsigned()) return std::nullopt;
    return row[at].get<uint64_t>();
  };
  const auto compressed = number(0), content = number(1), packets = number(4);
  if (!compressed || !content || !packets || !row[2].is_number_integer() || !row[3].is_number_integer() || !row[5].is_string())
    return fail(ErrorKind::corrupt, "a frame has a field of a wrong type");
  for (const size_t at : {2, 3}) {
    if (row[at].is_number_unsigned() && row[at].get<uint64_t>() > INT64_MAX)
      return fail(ErrorKind::corrupt, "a frame has a time out of range");
  }
  FrameEntry frame{*compressed, *content, row[2].get<int64_t>(), row[3].get<int64_t>(), *packets, row[5].get<std::string>()};
  TRY(check_frame_entry(frame));
  return frame;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; })) {
    out += '"';
    out += text;
    out += '"';
    return;
  }
  out += dump_json(Json(text));
}

void append_frames(std::string& out, std::span<const FrameEntry> frames) {
  out += '[';
  for (const FrameEntry& frame : frames) {
    if (&frame != frames.data()) out += ',';
    fmt::format_to(std::back_inserter(out), "[{},{},{},{},{},", frame.compressed_bytes, frame.content_bytes, frame.first_ns,
                   frame.last_ns, frame.packets);
    append_json_string(out, frame.summary);
    out += ']';
  }
  out += ']';
}

Result<std::vector<FrameEntry>> frames_from_json(const Json& array, size_t limit) {
  if (!array.is_array()) return fail(ErrorKind::corrupt, "'frames' is not an array");
  if (array.size() > limit) return fail(ErrorKind::corrupt, "{} frames, at most {} are allowed", array.size(), limit);
  std::vector<FrameEntry> frames;
  frames.reserve(array.size());
  for (const Json& row : array) {
    auto frame = frame_from_json(row);
    if (!frame) return tl::make_unexpected(frame.error().in(fmt::format("frame {}", frames.size())));
    frames.push_back(std::move(*frame));
  }
  return frames;
}

Result<> check_frame_entry(const FrameEntry& frame) {
  if (frame.content_bytes == 0) return fail(ErrorKind::corrupt, "a frame is empty");
  if (frame.content_bytes > kMaxFrameContent)
    return fail(ErrorKind::corrupt, "a frame of {} bytes content, {} are allowed", frame.content_bytes, kMaxFrameContent);
  if (frame.compressed_bytes == 0 || frame.compressed_bytes > max_compressed_bytes(frame.content_bytes))
    return fail(ErrorKind::corrupt, "a frame of {} bytes for {} bytes content", frame.compressed_bytes, frame.content_bytes);
  if (frame.first_ns > frame.last_ns) return fail(ErrorKind::corrupt, "a frame's last packet is before its first");
  // A packet takes at least a byte; more than that is a lie, and its sums could overflow.
  if (frame.packets > frame.content_bytes) return fail(ErrorKind::corrupt, "a frame of more packets than bytes");
  if (frame.summary.size() > kMaxSummaryText || !is_graphic(frame.summary))
    return fail(ErrorKind::corrupt, "a frame's summary is too long or not plain text");
  return {};
}

bool is_sha256_text(std::string_view text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

FrameTotals total_of(std::span<const FrameEntry> frames) {
  FrameTotals totals;
  for (const FrameEntry& frame : frames) {
    totals.compressed_bytes += frame.compressed_bytes;
    totals.content_bytes += frame.content_bytes;
    totals.packets += frame.packets;
  }
  return totals;
}

}  // namespace lookback::archive
