#include "exporter/interface_texts.hpp"

#include <algorithm>

#include "exporter/bytes.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::exporter {

namespace {

constexpr std::string_view kNode = "node ";

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool are_extra_options(const packet::Buffer& options) {
  constexpr uint16_t kName = 2, kDescription = 3, kTsresol = 9, kTsoffset = 14;
  for (size_t at = 0; at < options.size();) {
    if (options.size() - at < 4) return false;
    const auto code = load<uint16_t>(options.data() + at);
    const size_t padded = (load<uint16_t>(options.data() + at + 2) + size_t{3}) & ~size_t{3};
    if (padded > options.size() - at - 4) return false;
    for (const uint16_t other : {packet::kOptEnd, kName, kDescription, kTsresol, kTsoffset})
      if (code == other) return false;
    at += 4 + padded;
  }
  return true;
}

}  // namespace

std::string describe_interface(std::string_view node, std::string_view description) {
  if (description.empty()) return fmt::format("{}{}", kNode, node);
  return fmt::format("{}{} ({})", kNode, node, description);
}

std::optional<NodeInterface> node_of_description(std::string_view text) {
  if (!text.starts_with(kNode) || text.size() == kNode.size()) return std::nullopt;
  text.remove_prefix(kNode.size());
  constexpr std::string_view kOpen = " (";
  const size_t open = text.find(kOpen);
  if (open == 0 || open == std::string_view::npos || !text.ends_with(')')) return NodeInterface{text, {}};
  const std::string_view inner = text.substr(open + kOpen.size());
  return NodeInterface{text.substr(0, open), inner.substr(0, inner.size() - 1)};
}

std::string options_to_text(const packet::Buffer& options) { return to_hex(options); }

packet::Buffer options_from_text(std::string_view text) {
  packet::Buffer options;
  if (text.size() % 2 != 0) return {};
  options.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit_of(text[i]), low = digit_of(text[i + 1]);
    if (high < 0 || low < 0) return {};
    options.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return are_extra_options(options) ? options : packet::Buffer{};
}

}  // namespace lookback::exporter
