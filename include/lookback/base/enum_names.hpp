#pragma once
// The words that stand for the values of an enum, both ways.

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace lookback {

/// In the order of the enum, whose values count from 0: constexpr EnumNames<State, 2> kStates{{"running", "done"}};
template <class Enum, size_t N>
struct EnumNames {
  std::array<std::string_view, N> names;

  [[nodiscard]] constexpr std::string_view of(Enum value) const { return names.at(static_cast<size_t>(value)); }
  [[nodiscard]] constexpr std::optional<Enum> find(std::string_view name) const {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return std::nullopt;
    return static_cast<Enum>(found - names.begin());
  }
};

}  // namespace lookback
