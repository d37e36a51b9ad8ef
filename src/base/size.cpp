#include "lookback/base/size.hpp"

#include <cctype>
#include <charconv>
#include <cmath>

namespace lookback {

Result<uint64_t> parse_size(std::string_view text) {
  const auto bad = [&] {
    return fail(ErrorKind::invalid, "'{}' is not a size; write it like 10GiB, 500MB or 4096", text);
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || !std::isfinite(number)) return bad();
  std::string unit;
  for (const char* p = end; p != text.data() + text.size(); ++p) {
    if (*p == ' ' && unit.empty()) continue;
    unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*p)));
  }
  double scale = 1;
  if (!unit.empty() && unit != "b") {
    const size_t power = std::string_view("kmgtp").find(unit[0]);
    if (power == std::string_view::npos) return bad();
    const std::string_view rest = std::string_view(unit).substr(1);
    if (rest == "b") {
      scale = std::pow(1000.0, static_cast<double>(power + 1));
    } else if (rest.empty() || rest == "i" || rest == "ib") {
      scale = std::pow(1024.0, static_cast<double>(power + 1));
    } else {
      return bad();
    }
  }
  const double bytes = number * scale;
  if (bytes >= 9.2e18) return fail(ErrorKind::invalid, "'{}' is larger than any disk", text);
  if (scale == 1 && bytes != std::floor(bytes)) return bad();
  return static_cast<uint64_t>(bytes);
}

std::string format_size(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace lookback
