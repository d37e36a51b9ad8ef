#pragma once
// The JSON of note blocks.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/packet.hpp"
#include "lookback/store/store.hpp"

namespace lookback::store {

struct Note {
  std::optional<std::vector<packet::Interface>>
      interfaces;  ///< the whole table, valid from here on
  std::vector<Gap> gaps;
  std::vector<ClockSample> clock;
  std::optional<int64_t> complete_ns;  ///< see Store::set_complete_until
  /// Nothing that is worth a block: complete_ns goes along with the rest.
  [[nodiscard]] bool empty() const { return !interfaces && gaps.empty() && clock.empty(); }
};

[[nodiscard]] std::string note_to_json(const Note& note);
[[nodiscard]] Result<Note> note_from_json(std::string_view text);

}  // namespace lookback::store
