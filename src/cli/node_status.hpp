#pragma once
// GET /api/v1/status of a capture daemon as a page for people.

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lookback::cli {

[[nodiscard]] std::string node_status_page(const nlohmann::json& status);

}  // namespace lookback::cli
