#pragma once
// Exit statuses, which scripts rely on, and the one line on standard error.

#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::cli {

inline constexpr int kExitDone = 0, kExitFailed = 1, kExitUsage = 2, kExitIncomplete = 3,
                     kExitNotFound = 4, kExitUnreachable = 5;

[[nodiscard]] int exit_status(const Error& error);
/// "lookback: MESSAGE" on standard error, always one line.
void report_error(const Error& error);
/// The same for something worth knowing that is not a failure.
void report_note(std::string_view message);
/// A text of the command on standard output. Whoever closed the pipe has read enough: that is no
/// error.
[[nodiscard]] Result<> print(std::string_view text);
/// One line with names from outside in it, made printable (base/text.hpp).
[[nodiscard]] Result<> print_line(std::string_view line);

}  // namespace lookback::cli
