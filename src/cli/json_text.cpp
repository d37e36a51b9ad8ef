#include "cli/json_text.hpp"

#include <cmath>

#include "cli/exit_status.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

std::string text_of(const Json& object, std::string_view key) {
  return json_get_or<std::string>(object, key, "").value_or("");
}

int64_t number_of(const Json& object, std::string_view key, int64_t otherwise) {
  return json_get_or<int64_t>(object, key, otherwise).value_or(otherwise);
}

bool truth_of(const Json& object, std::string_view key, bool otherwise) {
  return json_get_or<bool>(object, key, otherwise).value_or(otherwise);
}

const Json& list_of(const Json& object, std::string_view key) {
  static const Json kEmpty = Json::array();
  const Json& member = member_of(object, key);
  return member.is_array() ? member : kEmpty;
}

const Json& member_of(const Json& object, std::string_view key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

std::string exact_time_of(const Json& object, std::string_view key) {
  const std::string text = text_of(object, key);
  const auto time = parse_rfc3339(text);
  if (!time) return text.empty() ? "-" : printable(text);
  return format_time(*time);
}

std::string time_of(const Json& object, std::string_view key) {
  const std::string text = text_of(object, key);
  const auto time = parse_rfc3339(text);
  if (!time) return text.empty() ? "-" : printable(text);
  return format_time_seconds(*time);
}

std::string grouped(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string counted(uint64_t number, std::string_view noun) {
  return fmt::format("{} {}{}", grouped(number), noun, number == 1 ? "" : "s");
}

std::string clock_text(int64_t offset_ns, int64_t error_ns) {
  const auto offset = static_cast<double>(offset_ns), error = static_cast<double>(error_ns);
  if (std::abs(offset) >= 1e9)
    return fmt::format("{:+.3f} s ± {:.3f} s", offset / 1e9, error / 1e9);
  return fmt::format("{:+.3f} ms ± {:.3f} ms", offset / 1e6, error / 1e6);
}

std::string ago(std::string_view time, int64_t now_ns) {
  const auto then = parse_rfc3339(time);
  if (!then) return "-";
  if (now_ns - *then < kNsPerSecond) return "now";
  return format_duration((now_ns - *then) / kNsPerSecond * kNsPerSecond) + " ago";
}

std::string pretty(const Json& value) {
  return dump_json(value, 2) + "\n";
}

Result<> print_names(const Json& list, std::string_view what,
                     const std::function<Result<>(std::string_view)>& check) {
  for (const Json& one : list) {
    const std::string name = text_of(one, "name");
    if (const auto named = check(name); !named) {
      report_note(fmt::format("the hub names a {} that cannot be one: {}", what,
                              named.error().message));
      continue;
    }
    TRY(print_line(name));
  }
  return {};
}

}  // namespace lookback::cli
