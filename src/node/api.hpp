#pragma once
// The routes of the capture daemon, each a thin shell around a call.

#include <functional>
#include <string>

#include "lookback/http/server.hpp"
#include "node/documents.hpp"
#include "node/freeze_service.hpp"
#include "node/member_pool.hpp"

namespace lookback::node {

struct ApiParts {
  FreezeService* freezes = nullptr;
  MemberPool* pool = nullptr;
  /// How much of the gaps' list is wanted goes with it: it may be long.
  std::function<DaemonState()> state;
  /// An address that freezes were asked for from.
  std::function<void(const std::string&)> on_caller;
};

/// Before server.start(). The parts outlive the server.
void add_routes(http::Server& server, ApiParts parts);

}  // namespace lookback::node
