#pragma once
// Values of header fields.

#include <string_view>

namespace lookback::http {

/// Without the blanks around it (RFC 9110 section 5.5).
[[nodiscard]] inline std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace lookback::http
