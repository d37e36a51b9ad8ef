#pragma once
// Records what processes and sockets do into the event FIFO. Degrades by itself: what the kernel or
// the privileges do not allow is missing and named, and packets are recorded all the same.
//
// Privileges: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN for the programs; CAP_SYS_ADMIN and
// CAP_SYS_PTRACE to find what was there before, in every network namespace.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/observe/event_store.hpp"

namespace lookback::observe {

struct ObserverOptions {
  EventStoreOptions store;
  bool enabled = true;            ///< false: nothing is recorded; what there is can be read
  uint32_t ring_bytes = 4 << 20;  ///< between the kernel and us; a power of two
  /// Whether a freeze of packets is there still.
  std::function<bool(const std::string& id)> is_frozen;
};

struct ObserverStatus {
  std::string state;   ///< "recording", "degraded", "off"
  std::string reason;  ///< why not "recording"
  uint64_t events = 0;
  uint64_t lost = 0;     ///< between the kernel and us
  uint64_t limited = 0;  ///< resets, retransmits and drops that were only counted
  /// Calls that the kernel left out because the same program was interrupted for them. What follows
  /// on the same socket tells most of what they would have told.
  uint64_t missed = 0;
  uint64_t processes = 0, sockets = 0;
  EventStoreStatus store;
};

/// Thread-safe. Owns its thread.
class Observer {
 public:
  /// An error is one of the directory or of the options; a kernel that refuses is not: see
  /// status().
  [[nodiscard]] static Result<std::unique_ptr<Observer>> start(ObserverOptions options,
                                                               const Clock& clock);
  virtual ~Observer() = default;

  [[nodiscard]] virtual ObserverStatus status() const = 0;
  /// Of ObserverStatus::lost, what was lost in a window; a loss is known to the second.
  [[nodiscard]] virtual uint64_t lost_in(TimeWindow window) const = 0;
  /// Takes over everything that has happened by now, ends the open segment, and pins the window.
  [[nodiscard]] virtual Result<> freeze(const std::string& id, TimeWindow window) = 0;
  [[nodiscard]] virtual EventStore& store() = 0;
};

}  // namespace lookback::observe
