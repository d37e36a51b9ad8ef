#pragma once
// The routes of the capture daemon, each a thin shell around a call.

#include <functional>
#include <string>

#include "lookback/http/server.hpp"
#include "node/documents.hpp"
#include "node/freeze_service.hpp"
#include "node/member_pool.hpp"
#include "node/memory_budget.hpp"

namespace lookback::node {

struct ApiParts {
  FreezeService* freezes = nullptr;
  MemberPool* pool = nullptr;
  MemoryBudget* memory = nullptr;
  /// How much of the gaps' list is wanted goes with it: it may be long.
  std::function<DaemonState()> state;
  /// Who asks for freezes or members: address and port.
  std::function<void(const std::string&, uint16_t)> on_caller;
  /// What was left out of the recording at any time of a window.
  std::function<std::vector<ExcludedInterval>(TimeWindow)> excluded;
};

/// Before server.start(). The parts outlive the server.
void add_routes(http::Server& server, ApiParts parts);

}  // namespace lookback::node
