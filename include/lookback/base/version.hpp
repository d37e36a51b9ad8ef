#pragma once
#include <string_view>

namespace lookback {
/// The product's version, "0.1.0".
[[nodiscard]] std::string_view version();
}  // namespace lookback
