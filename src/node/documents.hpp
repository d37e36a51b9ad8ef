#pragma once
// The JSON and Prometheus texts that the capture daemon answers with. Pure functions.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lookback/node/capture_daemon.hpp"
#include "lookback/store/store.hpp"
#include "node/freeze_service.hpp"
#include "node/heartbeat.hpp"
#include "node/recorder.hpp"
#include "node/self_exclusion.hpp"

namespace lookback::node {

/// Everything a status speaks of, taken at one moment.
struct DaemonState {
  const CaptureOptions* options = nullptr;
  int64_t started_ns = 0;
  store::StoreStatus store;
  RecorderTotals totals;
  Rates rates;
  bool disk_failing = false;
  std::optional<Error> failure;
  std::optional<HeartbeatStatus> heartbeat;  ///< nothing without a hub
  std::vector<packet::Interface> interfaces;
  std::vector<Gap> gaps;
  uint64_t ring_bytes = 0;
  uint64_t freezes = 0;
  uint64_t gap_count = 0;
  std::optional<observe::ObserverStatus> events;
  std::vector<capture::ExcludedConnection> excluded;  ///< the daemon's own, not recorded now
};

[[nodiscard]] nlohmann::json status_document(const DaemonState& state);
/// The part of it that goes with every heartbeat.
[[nodiscard]] nlohmann::json heartbeat_status_document(const DaemonState& state);
/// `excluded`: what was left out of the recording at any time of the window.
[[nodiscard]] nlohmann::json freeze_document(const FrozenWindow& window,
                                             const std::vector<ExcludedInterval>& excluded);
[[nodiscard]] std::string metrics_text(const DaemonState& state);

/// How long the storage lasts at this rate; nothing while the rate is not known.
[[nodiscard]] std::optional<int64_t> retention_ns(uint64_t quota_bytes, uint64_t frozen_bytes,
                                                  double disk_bytes_per_second);

}  // namespace lookback::node
