#include "lookback/base/log.hpp"

#include <unistd.h>

#include <atomic>
#include <string>

#include "lookback/base/clock.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/time.hpp"

namespace lookback {

namespace {
std::atomic<LogLevel> g_level{LogLevel::info};
constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
}  // namespace

void set_log_level(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view message) {
  if (level < log_level()) return;
  const int64_t now_ms = Clock::system().realtime_ns() / 1'000'000;
  // A name from outside must not be able to forge a second line, or to steer a terminal.
  const std::string line = fmt::format("{} {} {}\n", format_time(now_ms * 1'000'000),
                                       kNames[static_cast<int>(level)], printable(message));
  // One write, so that lines of several threads and processes do not mix.
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace lookback
