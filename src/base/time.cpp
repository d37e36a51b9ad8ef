#include "lookback/base/time.hpp"

#include <array>
#include <charconv>
#include <optional>

namespace lookback {

namespace {

using std::chrono::days;
using std::chrono::sys_days;

constexpr int64_t kNsPerDay = 86'400 * kNsPerSecond;

struct Parts {
  std::chrono::year_month_day date;
  int64_t second_of_day;
  int64_t fraction_ns;
};

Parts split(int64_t time_ns) {
  int64_t day = time_ns / kNsPerDay;
  int64_t rest = time_ns % kNsPerDay;
  if (rest < 0) {
    rest += kNsPerDay;
    --day;
  }
  return {std::chrono::year_month_day(sys_days(days(day))), rest / kNsPerSecond, rest % kNsPerSecond};
}

std::string format_with(int64_t time_ns, int digits) {
  const Parts p = split(time_ns);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(p.date.year()),
                                 static_cast<unsigned>(p.date.month()),
                                 static_cast<unsigned>(p.date.day()), p.second_of_day / 3600,
                                 p.second_of_day / 60 % 60, p.second_of_day % 60);
  if (digits > 0) {
    int64_t fraction = p.fraction_ns;
    for (int i = digits; i < 9; ++i) fraction /= 10;
    text += fmt::format(".{:0{}}", fraction, digits);
  }
  return text + "Z";
}

/// A cursor over text that takes fixed-width numbers and single characters.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  [[nodiscard]] bool done() const { return text_.empty(); }
  [[nodiscard]] char peek() const { return text_.empty() ? '\0' : text_.front(); }
  bool take(char c) {
    if (peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::optional<int> number(size_t width) {
    if (text_.size() < width) return std::nullopt;
    int value = 0;
    for (size_t i = 0; i < width; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return std::nullopt;
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(width);
    return value;
  }
  /// ".123456789": at most nine digits count, more are an error.
  std::optional<int64_t> fraction() {
    if (!take('.')) return 0;
    int64_t value = 0;
    int digits = 0;
    while (peek() >= '0' && peek() <= '9') {
      if (++digits > 9) return std::nullopt;
      value = value * 10 + (peek() - '0');
      text_.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 9; ++digits) value *= 10;
    return value;
  }

 private:
  std::string_view text_;
};

struct ClockTime {
  int64_t ns;
};

/// "12:00", "12:00:05", "12:00:05.25"
std::optional<ClockTime> take_clock_time(Cursor& in, bool seconds_required) {
  const auto hour = in.number(2);
  if (!hour || *hour > 23 || !in.take(':')) return std::nullopt;
  const auto minute = in.number(2);
  if (!minute || *minute > 59) return std::nullopt;
  int64_t ns = (*hour * 3600LL + *minute * 60LL) * kNsPerSecond;
  if (in.take(':')) {
    const auto second = in.number(2);
    if (!second || *second > 60) return std::nullopt;
    const auto fraction = in.fraction();
    if (!fraction) return std::nullopt;
    // A leap second is the second after it: CLOCK_REALTIME has no name of its own for it.
    ns += *second * kNsPerSecond + *fraction;
  } else if (seconds_required) {
    return std::nullopt;
  }
  return ClockTime{ns};
}

std::optional<int64_t> take_date(Cursor& in) {
  const auto year = in.number(4);
  if (!year || !in.take('-')) return std::nullopt;
  const auto month = in.number(2);
  if (!month || !in.take('-')) return std::nullopt;
  const auto day = in.number(2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  // int64 nanoseconds end in 2262 and begin in 1677.
  if (!date.ok() || *year < 1678 || *year > 2261) return std::nullopt;
  return sys_days(date).time_since_epoch().count() * kNsPerDay;
}

std::optional<int64_t> take_offset(Cursor& in) {
  if (in.take('Z') || in.take('z')) return 0;
  const bool minus = in.peek() == '-';
  if (!in.take('+') && !in.take('-')) return std::nullopt;
  const auto hour = in.number(2);
  if (!hour || *hour > 23 || !in.take(':')) return std::nullopt;
  const auto minute = in.number(2);
  if (!minute || *minute > 59) return std::nullopt;
  const int64_t ns = (*hour * 3600LL + *minute * 60LL) * kNsPerSecond;
  return minus ? -ns : ns;
}

std::optional<int64_t> parse_duration_opt(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, int64_t>, 8> kUnits{{
      {"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", kNsPerSecond}, {"m", 60 * kNsPerSecond},
      {"h", 3600 * kNsPerSecond}, {"d", kNsPerDay}, {"w", 7 * kNsPerDay}}};
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc() || !(number >= 0) || text.front() == '-') return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    size_t width = 0;
    while (width < text.size() && text[width] >= 'a' && text[width] <= 'z') ++width;
    const std::string_view unit = text.substr(0, width);
    int64_t scale = 0;
    for (const auto& [name, ns] : kUnits) {
      if (name == unit) scale = ns;
    }
    if (scale == 0) return std::nullopt;
    total += number * static_cast<double>(scale);
    text.remove_prefix(width);
  }
  if (total > 9.0e18) return std::nullopt;
  return static_cast<int64_t>(total);
}

}  // namespace

std::string format_time(int64_t time_ns) {
  const int64_t fraction = split(time_ns).fraction_ns;
  int digits = 9;
  if (fraction == 0) {
    digits = 0;
  } else if (fraction % 1'000'000 == 0) {
    digits = 3;
  } else if (fraction % 1'000 == 0) {
    digits = 6;
  }
  return format_with(time_ns, digits);
}

std::string format_time_seconds(int64_t time_ns) {
  return format_time(time_ns / kNsPerSecond * kNsPerSecond);
}

std::string format_time_ns(int64_t time_ns) { return format_with(time_ns, 9); }

Result<int64_t> parse_rfc3339(std::string_view text) {
  Cursor in(text);
  const auto bad = [&] {
    return fail(ErrorKind::invalid, "'{}' is not a time like 2026-03-01T12:00:00Z", text);
  };
  const auto day = take_date(in);
  if (!day || (!in.take('T') && !in.take('t') && !in.take(' '))) return bad();
  const auto clock = take_clock_time(in, /*seconds_required=*/true);
  if (!clock) return bad();
  const auto offset = take_offset(in);
  if (!offset || !in.done()) return bad();
  return *day + clock->ns - *offset;
}

Result<int64_t> parse_time(std::string_view text, int64_t now_ns) {
  if (text == "now") return now_ns;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    if (const auto distance = parse_duration_opt(text.substr(1))) {
      return text.front() == '-' ? now_ns - *distance : now_ns + *distance;
    }
  }
  if (!text.empty() && text.front() == '@') {
    int64_t seconds = 0;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + 1, last, seconds);
    if (error == std::errc() && seconds >= 0 && seconds < 9'000'000'000) {
      Cursor in(text.substr(static_cast<size_t>(end - text.data())));
      const auto fraction = in.fraction();
      if (fraction && in.done()) return seconds * kNsPerSecond + *fraction;
    }
  }
  if (auto exact = parse_rfc3339(text)) return *exact;
  {
    Cursor in(text);
    if (const auto day = take_date(in)) {
      if (in.done()) return *day;
      if (in.take(' ') || in.take('T')) {
        const auto clock = take_clock_time(in, false);
        if (clock && in.done()) return *day + clock->ns;
      }
    }
  }
  {
    Cursor in(text);
    const auto clock = take_clock_time(in, false);
    if (clock && in.done()) {
      int64_t time = now_ns - now_ns % kNsPerDay + clock->ns;
      if (time > now_ns) time -= kNsPerDay;
      return time;
    }
  }
  return fail(ErrorKind::invalid,
              "'{}' is not a time; write 2026-03-01T12:00:00Z, '2026-03-01 12:00', 12:00 (UTC) or -30m", text);
}

Result<int64_t> parse_duration(std::string_view text) {
  if (const auto ns = parse_duration_opt(text)) return *ns;
  return fail(ErrorKind::invalid, "'{}' is not a duration; write it like 30s, 5m, 12h or 1h30m", text);
}

std::string format_duration(int64_t duration_ns) {
  if (duration_ns < 0) return "-" + format_duration(-duration_ns);
  const int64_t seconds = duration_ns / kNsPerSecond;
  if (duration_ns < 1'000'000) return fmt::format("{} µs", duration_ns / 1'000);
  if (seconds < 1) return fmt::format("{} ms", duration_ns / 1'000'000);
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} m {} s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{} h {} m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{} d {} h", seconds / 86'400, seconds / 3600 % 24);
}

std::string format_duration_compact(int64_t duration_ns) {
  static constexpr std::array<std::pair<const char*, int64_t>, 7> kUnits{{
      {"d", kNsPerDay}, {"h", 3600 * kNsPerSecond}, {"m", 60 * kNsPerSecond}, {"s", kNsPerSecond},
      {"ms", 1'000'000}, {"us", 1'000}, {"ns", 1}}};
  std::string text;
  for (const auto& [name, ns] : kUnits) {
    if (duration_ns >= ns) {
      text += fmt::format("{}{}", duration_ns / ns, name);
      duration_ns %= ns;
    }
  }
  return text.empty() ? "0s" : text;
}

}  // namespace lookback
