#pragma once
// Accepted sockets that nobody has used: their use would tell whose they are, so they are looked up
// instead.

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "observe/live_table.hpp"

namespace lookback::observe {

class UnusedSockets {
 public:
  /// Takes in sockets that are accepted; of other events nothing.
  void note(const Event& event);
  /// Of sockets accepted before this time that nobody has used since: events of kind owner, with
  /// the time of the accept. What nobody has yet is looked for again for a while.
  [[nodiscard]] std::vector<Event> find_owners(int64_t before_ns, const LiveTable& table);

 private:
  std::deque<std::pair<int64_t, uint64_t>> accepted_;  ///< when, which
};

}  // namespace lookback::observe
