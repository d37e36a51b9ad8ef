#pragma once
// The archive's clock map under the names that exports use.

#include "lookback/archive/clock_map.hpp"

namespace lookback::exporter {

using archive::ClockMap;
using archive::saturating_add;
using archive::saturating_sub;

}  // namespace lookback::exporter
