#pragma once
// Byte sizes as people write them.

#include <cstdint>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback {

/// "10GiB", "64MiB", "500MB", "1.5GiB", "4096": powers of 1024 with an i, of 1000 without. A lone K, M, G, T is
/// taken as KiB … TiB. Overflow and negative numbers are errors.
[[nodiscard]] Result<uint64_t> parse_size(std::string_view text);
/// "1.4 GiB", "512 B": for people.
[[nodiscard]] std::string format_size(uint64_t bytes);

}  // namespace lookback
