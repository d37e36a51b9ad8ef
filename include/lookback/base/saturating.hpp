#pragma once
// Sums of numbers that others supply: they stop at the largest value, where a plain sum would begin anew at 0.

#include <concepts>
#include <limits>

namespace lookback {

template <std::unsigned_integral T>
[[nodiscard]] constexpr T saturating_add(T a, T b) {
  return a > std::numeric_limits<T>::max() - b ? std::numeric_limits<T>::max() : static_cast<T>(a + b);
}

/// sum += more, up to the largest value.
template <std::unsigned_integral T>
constexpr void saturate(T& sum, T more) {
  sum = saturating_add(sum, more);
}

}  // namespace lookback
