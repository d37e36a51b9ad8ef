#include "cli/toml.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>

namespace lookback::cli {

namespace {

bool bare_key_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Result<std::vector<Setting>> parse() {
    std::vector<Setting> settings;
    std::set<std::pair<std::string, std::string>> seen;
    std::set<std::string> tables;
    std::string table;
    for (;;) {
      skip_blank(/*lines=*/true);
      if (at_end()) return settings;
      if (peek() == '[') {
        ++at_;
        skip_blank(false);
        TRY_ASSIGN(table, key());
        skip_blank(false);
        if (!take(']')) return error("a table's name ends in ']'");
        if (!tables.insert(table).second)
          return error(fmt::format("the table [{}] is there twice", table));
        TRY(end_of_line());
        continue;
      }
      Setting setting;
      setting.table = table;
      setting.line = line_;
      TRY_ASSIGN(setting.key, key());
      skip_blank(false);
      if (!take('=')) return error(fmt::format("'=' is missing after '{}'", setting.key));
      skip_blank(false);
      TRY_ASSIGN(setting.values, values());
      TRY(end_of_line());
      if (!seen.emplace(table, setting.key).second) {
        return error(fmt::format("'{}' is set twice", setting.key));
      }
      settings.push_back(std::move(setting));
    }
  }

 private:
  [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] char peek() const { return at_end() ? '\0' : text_[at_]; }

  bool take(char c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  tl::unexpected<Error> error(std::string_view what) const {
    return fail(ErrorKind::invalid, "{}:{}: {}", file_, line_, what);
  }

  /// Spaces and comments; line ends too where they do not matter.
  void skip_blank(bool lines) {
    while (!at_end()) {
      const char c = peek();
      if (c == '#') {
        while (!at_end() && peek() != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at_;
      } else if (c == '\n' && lines) {
        ++line_;
        ++at_;
      } else {
        return;
      }
    }
  }

  Result<> end_of_line() {
    skip_blank(false);
    if (!at_end() && peek() != '\n') return error("something stands behind the value");
    return {};
  }

  Result<std::string> key() {
    if (peek() == '"' || peek() == '\'') return string();
    const size_t start = at_;
    while (!at_end() && bare_key_character(peek())) ++at_;
    if (at_ == start) return error("a name is expected here");
    return std::string(text_.substr(start, at_ - start));
  }

  Result<std::vector<std::string>> values() {
    std::vector<std::string> out;
    if (!take('[')) {
      TRY_ASSIGN(std::string one, scalar());
      out.push_back(std::move(one));
      return out;
    }
    for (;;) {
      skip_blank(true);
      if (take(']')) return out;
      TRY_ASSIGN(std::string one, scalar());
      out.push_back(std::move(one));
      skip_blank(true);
      if (take(']')) return out;
      if (!take(',')) return error("',' or ']' is missing in the array");
    }
  }

  Result<std::string> scalar() {
    if (peek() == '"' || peek() == '\'') return string();
    const size_t start = at_;
    while (!at_end() &&
           (bare_key_character(peek()) || peek() == '+' || peek() == '.' || peek() == ':'))
      ++at_;
    std::string word(text_.substr(start, at_ - start));
    if (word == "true" || word == "false") return word;
    std::string digits = word;
    std::erase(digits, '_');
    if (!digits.empty() && digits[0] == '+') digits.erase(0, 1);
    int64_t number = 0;
    const auto [end, parsed] =
        std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (!digits.empty() && parsed == std::errc() && end == digits.data() + digits.size())
      return digits;
    return error(
        word.empty()
            ? "a value is missing"
            : fmt::format("'{}' is no value: texts, sizes and durations stand in quotes", word));
  }

  Result<std::string> string() {
    const char quote = text_[at_++];
    if (text_.substr(at_, 2) == std::string(2, quote))
      return error("texts of several lines are not supported");
    std::string out;
    while (!at_end() && peek() != '\n') {
      const char c = text_[at_++];
      if (c == quote) return out;
      if (c != '\\' || quote == '\'') {
        out += c;
        continue;
      }
      const char escape = peek();
      ++at_;
      switch (escape) {
        case 'b':
          out += '\b';
          break;
        case 't':
          out += '\t';
          break;
        case 'n':
          out += '\n';
          break;
        case 'f':
          out += '\f';
          break;
        case 'r':
          out += '\r';
          break;
        case '"':
          out += '"';
          break;
        case '\\':
          out += '\\';
          break;
        case 'u':
        case 'U': {
          const size_t digits = escape == 'u' ? 4 : 8;
          const std::string_view hex = text_.substr(std::min(at_, text_.size()), digits);
          uint32_t code = 0;
          const auto [end, parsed] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
          if (hex.size() != digits || parsed != std::errc() || end != hex.data() + hex.size() ||
              code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
            return error("a \\u escape needs the digits of a Unicode character");
          }
          append_utf8(out, code);
          at_ += digits;
          break;
        }
        default:
          return error("an unknown escape in a text; a backslash is written \\\\");
      }
    }
    return error("a text does not end on its line");
  }

  std::string_view text_, file_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

Result<std::vector<Setting>> parse_toml(std::string_view text, std::string_view file) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return Parser(text, file).parse();
}

}  // namespace lookback::cli
