#include "cli/table.hpp"

#include <algorithm>

#include "lookback/base/result.hpp"
#include "lookback/base/text.hpp"

namespace lookback::cli {

namespace {

constexpr size_t kGap = 2;

size_t total(const std::vector<size_t>& widths) {
  size_t sum = widths.empty() ? 0 : (widths.size() - 1) * kGap;
  for (const size_t w : widths) sum += w;
  return sum;
}

}  // namespace

TableStyle TableStyle::of(int fd) {
  return {terminal_width(fd), wants_colour(fd)};
}

void Table::add(std::vector<Cell> cells) {
  LOOKBACK_CHECK(cells.size() == columns_.size());
  for (Cell& cell : cells) cell.text = printable(cell.text);
  rows_.push_back(std::move(cells));
}

std::string Table::render(const TableStyle& style) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(display_width(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i].text));
  }
  // The widest column that may shrink gives first, so that several come out about equally wide.
  while (style.width != 0 && total(widths) > style.width) {
    size_t widest = columns_.size();
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].least_width == 0 || widths[i] <= columns_[i].least_width) continue;
      if (widest == columns_.size() || widths[i] > widths[widest]) widest = i;
    }
    if (widest == columns_.size()) break;
    --widths[widest];
  }

  std::string out;
  const auto line = [&](const std::vector<Cell>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string cell = shorten(cells[i].text, widths[i]);
      const std::string padding(widths[i] - display_width(cell), ' ');
      if (i != 0) text.append(kGap, ' ');
      if (columns_[i].right) text += padding;
      text += style.colour ? paint(cell, cells[i].colour) : cell;
      if (!columns_[i].right && i + 1 != cells.size()) text += padding;
    }
    out += text + '\n';
  };
  std::vector<Cell> titles;
  for (const Column& column : columns_) titles.emplace_back(column.title, Colour::bold);
  line(titles);
  for (const auto& row : rows_) line(row);
  return out;
}

std::string fact_line(std::string_view name, std::string_view value, size_t columns) {
  return fmt::format("{:<{}} {}\n", name, columns, printable(value));
}

}  // namespace lookback::cli
