#include "lookback/http/range.hpp"

#include <algorithm>
#include <charconv>

#include "http/header_text.hpp"

namespace lookback::http {

namespace {

/// Digits only, all of them; a number too large for 64 bits counts as the largest one.
std::optional<uint64_t> parse_number(std::string_view text) {
  if (text.empty() ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc::result_out_of_range ? UINT64_MAX : value;
}

}  // namespace

Result<std::optional<ByteRange>> parse_range(std::string_view header, uint64_t total_bytes) {
  constexpr std::string_view kUnit = "bytes=";
  header = trim(header);
  if (!header.starts_with(kUnit)) return std::nullopt;
  const std::string_view spec = trim(header.substr(kUnit.size()));
  const auto dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos)
    return std::nullopt;

  ByteRange range;
  if (dash == 0) {  // "-N": the last N bytes
    const auto suffix = parse_number(spec.substr(1));
    if (!suffix) return std::nullopt;
    if (*suffix == 0 || total_bytes == 0)
      return fail(ErrorKind::invalid, "the range '{}' is outside the {} bytes there are", spec,
                  total_bytes);
    range = {total_bytes - std::min(*suffix, total_bytes), total_bytes - 1};
    return range;
  }
  const auto first = parse_number(spec.substr(0, dash));
  if (!first) return std::nullopt;
  uint64_t last = UINT64_MAX;
  if (dash + 1 < spec.size()) {
    const auto parsed = parse_number(spec.substr(dash + 1));
    if (!parsed || *parsed < *first) return std::nullopt;
    last = *parsed;
  }
  if (*first >= total_bytes)
    return fail(ErrorKind::invalid, "the range '{}' is outside the {} bytes there are", spec,
                total_bytes);
  range = {*first, std::min(last, total_bytes - 1)};
  return range;
}

}  // namespace lookback::http
