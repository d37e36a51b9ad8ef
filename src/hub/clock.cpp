#include "clock.hpp"

#include <cstdlib>

namespace lookback::hub {

TimeWindow to_node_window(const TimeWindow& window, const std::optional<ClockReport>& clock) {
  if (!clock) return window;
  const int64_t offset = std::abs(clock->offset_ns) <= clock->error_ns ? 0 : clock->offset_ns;
  return {window.from_ns + offset - clock->error_ns, window.to_ns + offset + clock->error_ns};
}

}  // namespace lookback::hub
