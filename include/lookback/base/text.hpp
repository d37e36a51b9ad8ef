#pragma once
// Text from outside on its way to a terminal, a log, a table or a spreadsheet. Names of processes and interfaces are
// any bytes to the kernel, and what a peer says may be meant to steer whoever reads it.
//
// One form stands for all that must not be shown as it is: \xHH for each of its bytes, in lower case.

#include <cstdint>
#include <string>
#include <string_view>

namespace lookback {

/// Length in bytes of the UTF-8 sequence (RFC 3629) at the start of `text`; 0 where it is none, or `text` is empty.
[[nodiscard]] size_t utf8_length(std::string_view text);

/// The code point of one such sequence.
[[nodiscard]] uint32_t code_point(std::string_view sequence);
/// Controls, separators and format characters, as below.
[[nodiscard]] bool is_hidden(uint32_t code_point);

/// The text in one line of valid UTF-8 that steers no terminal. Escaped as \xHH are bytes that are not UTF-8,
/// controls (C0, DEL, C1), line and paragraph separators, and Unicode's format characters: direction, zero width,
/// tags (general category Cf). What is escaped already stays as it is.
[[nodiscard]] std::string printable(std::string_view text);

/// A field of a CSV line (RFC 4180): printable, quoted where it must be. A text that a spreadsheet would take for a
/// formula gets an apostrophe in front and quotes around, as OWASP advises for "CSV injection".
[[nodiscard]] std::string csv_field(std::string_view text);

/// A name that is any bytes, as text: printable, and a backslash that stands before xHH is \x5c. Two names never
/// have the same form.
[[nodiscard]] std::string name_to_text(std::string_view bytes);
/// The bytes that name_to_text() made `text` of.
[[nodiscard]] std::string name_from_text(std::string_view text);

}  // namespace lookback
