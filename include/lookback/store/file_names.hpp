#pragma once
// Every name that the store gives to a file, in one place.
//
//   DIR/lock                                held while a store is open
//   DIR/packets/0000000000000042.lbs        a segment
//   DIR/packets/.next.tmp                   the segment being prepared
//   DIR/freezes/ID/freeze.json              what is frozen; .freeze.json.tmp while it is rewritten
//   DIR/freezes/ID/0000000000000042.lbs     hard link to a segment
//   DIR/freezes/.ID.tmp                     a freeze being made or taken apart
//
// Names that start with a dot are leftovers of a killed process when a store is opened, and are
// removed.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace lookback::store::file_names {

inline constexpr std::string_view kLock = "lock";
inline constexpr std::string_view kPackets = "packets";
inline constexpr std::string_view kFreezes = "freezes";
inline constexpr std::string_view kPrepared = ".next.tmp";
inline constexpr std::string_view kFreezeRecord = "freeze.json";
inline constexpr std::string_view kFreezeRecordTemporary = ".freeze.json.tmp";
inline constexpr std::string_view kSegmentSuffix = ".lbs";
inline constexpr size_t kSequenceDigits = 16;

[[nodiscard]] inline std::string segment(uint64_t sequence) {
  std::string digits = std::to_string(sequence);
  if (digits.size() < kSequenceDigits) digits.insert(0, kSequenceDigits - digits.size(), '0');
  return digits.append(kSegmentSuffix);
}

/// The sequence number in a segment's name; nothing for any other name.
[[nodiscard]] inline std::optional<uint64_t> segment_sequence(std::string_view name) {
  if (name.size() != kSequenceDigits + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix))
    return std::nullopt;
  uint64_t sequence = 0;
  for (const char c : name.substr(0, kSequenceDigits)) {
    if (c < '0' || c > '9') return std::nullopt;
    sequence = sequence * 10 + static_cast<uint64_t>(c - '0');
  }
  return sequence;
}

[[nodiscard]] inline std::string freeze_in_work(std::string_view id) {
  return "." + std::string(id) + ".tmp";
}

}  // namespace lookback::store::file_names
