#pragma once
// Signals, for the client's commands and for the daemons.

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::cli {

/// While one lives, the first SIGINT, SIGTERM or SIGHUP only sets a flag; the second ends the
/// process as usual. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  [[nodiscard]] const std::atomic<bool>& flag() const;
  [[nodiscard]] bool requested() const;
  /// 128 + the signal's number, as shells have it.
  [[nodiscard]] int exit_status() const;
  /// Sleeps, less where a signal comes in; false then.
  [[nodiscard]] bool sleep_ms(int milliseconds) const;
};

/// For the daemons: SIGINT and SIGTERM become one call of `stop` on a thread of its own. Make it
/// before any other thread, which inherits the blocked signals. A second signal ends the process at
/// once.
class StopSignals {
 public:
  [[nodiscard]] static Result<std::unique_ptr<StopSignals>> create();
  /// Once; a signal that came before is handed over now.
  void start(std::function<void()> stop);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  StopSignals() = default;
  Fd signals_, ended_;
  std::thread thread_;
};

}  // namespace lookback::cli
