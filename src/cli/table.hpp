#pragma once
// Plain text columns for people: aligned by spaces, no lines drawn, cut to a terminal's width. For
// programs there is JSON.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal.hpp"

namespace lookback::cli {

struct Column {
  std::string title;
  bool right = false;  ///< aligned to the right: numbers
  size_t least_width =
      0;  ///< not 0: may be cut down to this many columns where the line is too long
};

struct Cell {
  std::string text;
  Colour colour = Colour::none;
  Cell(std::string cell_text, Colour cell_colour = Colour::none)  // NOLINT: a text is a cell
      : text(std::move(cell_text)), colour(cell_colour) {}
  Cell(const char* cell_text) : text(cell_text) {}  // NOLINT
};

/// How a table comes out on a file descriptor: width 0 does not cut.
struct TableStyle {
  size_t width = 0;
  bool colour = false;
  [[nodiscard]] static TableStyle of(int fd);
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// As many cells as columns. They are made printable (base/text.hpp): names may stem from others.
  void add(std::vector<Cell> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  [[nodiscard]] std::string render(const TableStyle& style) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// A line of a page for people: the name in so many columns, then the value, made printable.
[[nodiscard]] std::string fact_line(std::string_view name, std::string_view value, size_t columns);

}  // namespace lookback::cli
