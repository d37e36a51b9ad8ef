#pragma once
// Who may do what at the hub. Its own token: everything. A node's: the heartbeat of that node. A client's: all but heartbeats.

#include <string>

#include "lookback/http/roles.hpp"

namespace lookback::hub {

[[nodiscard]] http::AccessRule hub_access(const std::string& hub_token);

}  // namespace lookback::hub
