#include "cli/progress.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "cli/terminal.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr auto kRateWindow = std::chrono::seconds(3);

}  // namespace

std::string progress_line(const ProgressState& state, size_t width) {
  std::string facts;
  const uint64_t done = state.total != 0 ? std::min(state.done, state.total) : state.done;
  if (state.total != 0) {
    facts = fmt::format("{} of {}", format_size(done), format_size(state.total));
  } else {
    facts = format_size(done);
  }
  if (state.bytes_per_second >= 1) {
    facts += fmt::format("  {}/s", format_size(static_cast<uint64_t>(state.bytes_per_second)));
  }
  if (!state.detail.empty()) facts += "  " + printable(state.detail);
  if (state.total != 0 && state.bytes_per_second >= 1 && done < state.total) {
    const double seconds = static_cast<double>(state.total - done) / state.bytes_per_second;
    if (seconds < 365.0 * 86400) {
      facts += fmt::format("  {} left",
                           format_duration(static_cast<int64_t>(seconds + 1) * kNsPerSecond));
    }
  }
  if (state.total == 0) return shorten(facts, width);

  const double share = static_cast<double>(done) / static_cast<double>(state.total);
  const std::string percent = fmt::format(" {:3.0f} %  ", std::floor(share * 100));
  const size_t taken = display_width(percent) + display_width(facts) + 2;
  std::string bar;
  if (width > taken + 8) {
    const size_t cells = std::min<size_t>(width - taken, 30);
    const auto full = static_cast<size_t>(share * static_cast<double>(cells));
    bar = "[" + std::string(full, '#') + std::string(cells - full, '-') + "]";
  }
  return shorten(bar + percent + facts, width);
}

Progress::Progress(int fd, bool enabled) : fd_(fd), enabled_(enabled && can_rewrite_line(fd)) {}

Progress::~Progress() {
  clear();
}

void Progress::update(uint64_t done, uint64_t total, std::string detail) {
  if (!enabled_) return;
  const auto now = Clock::now();
  if (visible_ && now - last_ < kInterval) return;
  last_ = now;
  // Work that starts over (a hub that came back) must not count backwards.
  if (!history_.empty() && done < history_.back().second) history_.clear();
  history_.emplace_back(now, done);
  while (history_.size() > 2 && now - history_.front().first > kRateWindow) history_.pop_front();
  const double seconds = std::chrono::duration<double>(now - history_.front().first).count();
  ProgressState state{done, total, 0, std::move(detail)};
  if (seconds > 0.2)
    state.bytes_per_second = static_cast<double>(done - history_.front().second) / seconds;

  size_t width = terminal_width(fd_);
  if (width == 0) width = 80;
  // One column stays free: a full line makes some terminals go to the next one.
  const std::string line = "\r" + progress_line(state, width - 1) + "\x1b[K";
  // A terminal that went away is no reason to stop the work.
  if (!write_all(fd_, as_bytes(line))) enabled_ = false;
  visible_ = true;
}

void Progress::clear() {
  if (!visible_) return;
  visible_ = false;
  if (!write_all(fd_, as_bytes("\r\x1b[K"))) enabled_ = false;
}

}  // namespace lookback::cli
