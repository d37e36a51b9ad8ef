#pragma once
// Which end of a conversation offers a service, as far as its ports tell.

#include <cstdint>
#include <optional>

namespace lookback::exporter {

/// 0: port `a` is the service's, 1: `b` is; nothing where both may be. `ordered`: of two ports that
/// are equally likely the lower one is taken, as fits connections.
[[nodiscard]] std::optional<unsigned> service_of(uint16_t a, uint16_t b, bool ordered);

}  // namespace lookback::exporter
