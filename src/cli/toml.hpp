#pragma once
// The settings files' format: the part of TOML 1.0 (https://toml.io/en/v1.0.0) that settings need —
// comments, [tables], bare and quoted keys, strings of one line, integers, booleans, and arrays of
// those (which may span lines). What is outside it (dates, floats, inline tables, multi-line
// strings, dotted keys) is refused with the line's number, never misread.

#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::cli {

struct Setting {
  std::string table;  ///< "" before the first [table]
  std::string key;
  std::vector<std::string> values;  ///< one, or an array's
  int line = 0;
};

/// Kind invalid; `file` names it in the message: "FILE:3: …". A key twice in one table is an error.
[[nodiscard]] Result<std::vector<Setting>> parse_toml(std::string_view text, std::string_view file);

}  // namespace lookback::cli
