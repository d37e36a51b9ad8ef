#pragma once
// JSON as the hub writes it.

#include <string>

#include "lookback/base/json.hpp"
#include "lookback/base/json_time.hpp"

namespace lookback::hub {

/// One line. What came from outside and is not UTF-8 is replaced instead of thrown over.
[[nodiscard]] inline std::string to_text(const Json& json) {
  return dump_json(json) + "\n";
}

}  // namespace lookback::hub
