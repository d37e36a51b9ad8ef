#pragma once
// Keeps the hub informed, and measures the clock against it on the way. Recording never waits for any of this.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/http/client.hpp"
#include "lookback/http/url.hpp"
#include "node/clock_offset.hpp"
#include "node/clock_watch.hpp"
#include "node/freeze_admission.hpp"
#include "node/self_exclusion.hpp"

namespace lookback::node {

struct HeartbeatStatus {
  bool registered = false;
  std::optional<int64_t> last_ns;  ///< of the last answer, node time
  std::string error;               ///< of the last try; empty where it went well
  std::optional<ClockOffset> clock;
};

class Heartbeat {
 public:
  struct Parts {
    std::string node_name, hub_url, token, ca_file;
    std::string advertise_url;
    uint16_t port = 0;
    bool tls = false;
    const Clock* clock = nullptr;
    /// The "status" member of the message, as JSON text.
    std::function<std::string()> status;
    /// The hub's addresses, when they may have changed, and now and then.
    std::function<void(const std::vector<std::string>&)> on_hub;
    /// What is frozen now.
    std::function<std::vector<HeldFreeze>()> held_freezes;
    /// With what was held before the hub was asked, the hub's id, and the ids of its freezes that it still needs.
    std::function<void(const std::vector<HeldFreeze>&, const std::string&, const std::vector<std::string>&)>
        on_live_freezes;
    /// A new measurement that is worth keeping.
    std::function<void(const ClockOffset&)> on_clock;
  };

  /// invalid: the hub's URL.
  [[nodiscard]] static Result<std::unique_ptr<Heartbeat>> start(Parts parts);
  ~Heartbeat() { stop(); }
  void stop();
  [[nodiscard]] HeartbeatStatus status() const;

 private:
  Heartbeat(Parts parts, http::Url hub, http::Client client);
  void run();
  /// One message and its answer; returns the pause until the next.
  [[nodiscard]] Result<int64_t> beat();
  void resolve_hub();
  void publish_clock();

  const Parts parts_;
  const http::Url hub_;
  const std::string incarnation_;

  // heartbeat thread only
  http::Client client_;
  ClockOffsetEstimator estimator_;
  int exchanges_ = 0;  ///< since the start
  ClockWatch watch_;
  int64_t resolved_monotonic_ns_ = 0;
  std::vector<std::string> addresses_;
  std::optional<ClockOffset> published_;
  int64_t published_monotonic_ns_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  HeartbeatStatus status_;
  std::thread thread_;
};

}  // namespace lookback::node
