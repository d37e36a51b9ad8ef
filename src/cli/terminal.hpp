#pragma once
// What is known of a terminal: whether there is one, how wide it is, whether it wants colours.

#include <cstddef>
#include <string>
#include <string_view>

namespace lookback::cli {

[[nodiscard]] bool is_terminal(int fd);
/// Columns of the terminal behind `fd`; 0 where there is none.
[[nodiscard]] size_t terminal_width(int fd);
/// Only on a terminal, and neither with NO_COLOR (https://no-color.org) nor with TERM=dumb.
[[nodiscard]] bool wants_colour(int fd);
/// A terminal whose line can be written over.
[[nodiscard]] bool can_rewrite_line(int fd);

/// Columns that UTF-8 text takes, one a code point; escape sequences take none.
[[nodiscard]] size_t display_width(std::string_view text);
/// At most `width` columns, with an ellipsis at its end where something was cut.
[[nodiscard]] std::string shorten(std::string_view text, size_t width);

enum class Colour { none, bold, red, green, yellow };
[[nodiscard]] std::string paint(std::string_view text, Colour colour);

/// `text` in paragraphs broken at spaces so that no line passes `width`; following lines are
/// indented. Lines that begin with a space stay as they are.
[[nodiscard]] std::string wrap(std::string_view text, size_t width, size_t indent);

}  // namespace lookback::cli
