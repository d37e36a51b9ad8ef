#include "lookback/base/text.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <utility>

namespace lookback {

namespace {

/// Not shown as they are: categories Cc, Cf, Zl and Zp of Unicode 15.
constexpr std::pair<uint32_t, uint32_t> kHidden[] = {
    {0x0, 0x1f},          {0x7f, 0x9f},         {0xad, 0xad},       {0x600, 0x605},
    {0x61c, 0x61c},       {0x6dd, 0x6dd},       {0x70f, 0x70f},     {0x890, 0x891},
    {0x8e2, 0x8e2},       {0x180e, 0x180e},     {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f},     {0xfeff, 0xfeff},     {0xfff9, 0xfffb},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd},   {0x13430, 0x1343f},   {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
    {0xe0000, 0xe007f}};

/// What a formula starts with, the full-width forms of it included (U+FF1D, U+FF0B, U+FF0D, U+FF20).
constexpr std::string_view kFormulaStarts[] = {"=", "+", "-", "@", "\t", "\r", "\n", "\xef\xbc\x9d",
                                               "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0"};

void append_escaped(std::string& out, std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
}

constexpr size_t kEscapeLength = 4;

bool is_escape(std::string_view text) {
  const auto digit = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
  return text.size() >= kEscapeLength && text.starts_with("\\x") && digit(text[2]) && digit(text[3]);
}

std::string shown(std::string_view text, bool escape_escapes) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const std::string_view one = text.substr(0, std::max<size_t>(length, 1));
    if (length == 0 || is_hidden(code_point(one)) || (escape_escapes && is_escape(text)))
      append_escaped(out, one);
    else
      out += one;
    text.remove_prefix(one.size());
  }
  return out;
}

}  // namespace

size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  // Overlong forms, surrogates, beyond U+10FFFF.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) ||
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90))
    return 0;
  return length;
}

uint32_t code_point(std::string_view sequence) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(sequence[i])); };
  switch (sequence.size()) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3: return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

bool is_hidden(uint32_t code) {
  const auto* const after = std::upper_bound(std::begin(kHidden), std::end(kHidden), code,
                                       [](uint32_t wanted, const auto& range) { return wanted < range.first; });
  return after != std::begin(kHidden) && code <= std::prev(after)->second;
}

std::string printable(std::string_view text) { return shown(text, false); }

std::string csv_field(std::string_view text) {
  const bool formula = std::any_of(std::begin(kFormulaStarts), std::end(kFormulaStarts),
                                   [&](std::string_view start) { return text.starts_with(start); });
  const std::string clean = printable(text);
  if (!formula && clean.find_first_of(",\"") == std::string::npos) return clean;
  std::string quoted = formula ? "\"'" : "\"";
  for (const char c : clean) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string name_to_text(std::string_view bytes) { return shown(bytes, true); }

std::string name_from_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (!is_escape(text)) {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    unsigned value = 0;
    std::from_chars(text.data() + 2, text.data() + kEscapeLength, value, 16);
    out += static_cast<char>(value);
    text.remove_prefix(kEscapeLength);
  }
  return out;
}

}  // namespace lookback
