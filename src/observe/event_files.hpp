#pragma once
// The files of an event store: how they are named, and what they cost.

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "lookback/base/page.hpp"

namespace lookback::observe {

inline constexpr std::string_view kEventFileSuffix = ".events";
/// A segment is ended when it is as long.
inline constexpr uint64_t kEventSegmentBytes = 4 << 20;

[[nodiscard]] inline std::string event_file_name(uint64_t sequence) {
  return fmt::format("{:08}{}", sequence, kEventFileSuffix);
}

}  // namespace lookback::observe
