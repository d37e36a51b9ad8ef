#include "cli/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace lookback::cli {

namespace {

bool dumb() {
  const char* term = std::getenv("TERM");
  return term == nullptr || *term == '\0' || std::string_view(term) == "dumb";
}

/// The length of an escape sequence "ESC [ … letter" at the front of text, 0 where there is none.
size_t escape_length(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  for (size_t i = 2; i < text.size(); ++i) {
    if (text[i] >= '@' && text[i] <= '~') return i + 1;
  }
  return 0;
}

bool continues_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

}  // namespace

bool is_terminal(int fd) {
  return ::isatty(fd) == 1;
}

size_t terminal_width(int fd) {
  struct winsize size {};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

bool wants_colour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  return is_terminal(fd) && (no_color == nullptr || *no_color == '\0') && !dumb();
}

bool can_rewrite_line(int fd) {
  return is_terminal(fd) && !dumb();
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size();) {
    if (const size_t escape = escape_length(text.substr(i)); escape != 0) {
      i += escape;
      continue;
    }
    if (!continues_character(text[i])) ++width;
    ++i;
  }
  return width;
}

std::string shorten(std::string_view text, size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return "";
  std::string out;
  size_t columns = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!continues_character(text[i]) && columns++ == width - 1) break;
    out += text[i];
  }
  return out + "…";
}

std::string paint(std::string_view text, Colour colour) {
  const char* code = "";
  switch (colour) {
    case Colour::none:
      return std::string(text);
    case Colour::bold:
      code = "1";
      break;
    case Colour::red:
      code = "31";
      break;
    case Colour::green:
      code = "32";
      break;
    case Colour::yellow:
      code = "33";
      break;
  }
  return std::string("\x1b[") + code + "m" + std::string(text) + "\x1b[0m";
}

std::string wrap(std::string_view text, size_t width, size_t indent) {
  std::string out;
  size_t column = indent;
  bool first_line = true;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (!first_line) {
      out += '\n';
      if (!line.empty()) out.append(indent, ' ');
      column = indent;
    }
    first_line = false;
    if (line.starts_with(' ')) {
      out += line;
    } else {
      bool first_word = true;
      for (size_t i = 0; i < line.size();) {
        const size_t space = std::min(line.find(' ', i), line.size());
        const std::string_view word = line.substr(i, space - i);
        const size_t length = display_width(word);
        if (!first_word && column + 1 + length > width) {
          out += '\n';
          out.append(indent, ' ');
          column = indent;
        } else if (!first_word) {
          out += ' ';
          ++column;
        }
        out += word;
        column += length;
        first_word = false;
        i = space + 1;
      }
    }
    at = end + 1;
  }
  return out;
}

}  // namespace lookback::cli
