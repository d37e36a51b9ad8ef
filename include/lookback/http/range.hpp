#pragma once
// The Range header of a GET (RFC 9110 section 14): one byte range, which is what resuming a
// download needs.

#include <cstdint>
#include <optional>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::http {

struct ByteRange {
  uint64_t first = 0, last = 0;  ///< both inside the body, first <= last
  [[nodiscard]] uint64_t size() const { return last - first + 1; }
};

/// The part of a body of `total_bytes` that `header` asks for. Nothing: send the whole body (no
/// header, another unit, several ranges, or a text that is not a range: RFC 9110 14.2 has those
/// ignored). An error of kind invalid: the range lies outside the body; answer 416.
[[nodiscard]] Result<std::optional<ByteRange>> parse_range(std::string_view header,
                                                           uint64_t total_bytes);

}  // namespace lookback::http
