#include "target.hpp"

#include <algorithm>

#include "lookback/http/client.hpp"

namespace lookback::http {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates) without control characters.
bool is_clean_text(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      if (lead < 0x20 || lead == 0x7f) return false;
      ++i;
      continue;
    }
    size_t more;
    unsigned lowest = 0x80, highest = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) lowest = 0xa0;
      if (lead == 0xed) highest = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) lowest = 0x90;
      if (lead == 0xf4) highest = 0x8f;
    } else {
      return false;
    }
    if (text.size() - i <= more) return false;
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next < lowest || next > highest) return false;
      lowest = 0x80;
      highest = 0xbf;
    }
    i += more + 1;
  }
  return true;
}

Result<> parse_query(std::string_view text, std::multimap<std::string, std::string>& query) {
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    TRY_ASSIGN(std::string key, percent_decode(pair.substr(0, equals), true));
    TRY_ASSIGN(std::string value,
               percent_decode(pair.substr(std::min(equals + 1, pair.size())), true));
    query.emplace(std::move(key), std::move(value));
  }
  return {};
}

}  // namespace

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0)
        return fail(ErrorKind::invalid, "a '%' in the URL is not followed by two hex digits");
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else {
      out += text[i];
    }
  }
  if (!is_clean_text(out))
    return fail(ErrorKind::invalid, "the URL holds control characters or is not UTF-8");
  return out;
}

Result<Target> parse_target(std::string_view text) {
  Target target;
  if (text == "*") {
    target.path = "*";
    return target;
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!text.starts_with(scheme)) continue;
    const auto slash = text.find_first_of("/?", scheme.size());
    target.authority = text.substr(scheme.size(), slash == std::string_view::npos ? slash : slash - scheme.size());
    text = slash == std::string_view::npos ? "/" : text.substr(slash);
    break;
  }
  const auto question = std::min(text.find('?'), text.size());
  std::string_view path = text.substr(0, question);
  if (path.empty()) path = "/";
  if (path[0] != '/') return fail(ErrorKind::invalid, "the request target is not a path");
  TRY_ASSIGN(target.path, percent_decode(path, false));
  path.remove_prefix(1);
  for (;;) {
    const auto slash = std::min(path.find('/'), path.size());
    TRY_ASSIGN(std::string segment, percent_decode(path.substr(0, slash), false));
    target.segments.push_back(std::move(segment));
    if (slash == path.size()) break;
    path.remove_prefix(slash + 1);
  }
  if (question < text.size()) TRY(parse_query(text.substr(question + 1), target.query));
  return target;
}

RoutePattern::RoutePattern(std::string_view pattern) {
  LOOKBACK_CHECK(pattern.starts_with('/'));
  pattern.remove_prefix(1);
  for (;;) {
    const auto slash = std::min(pattern.find('/'), pattern.size());
    const std::string_view segment = pattern.substr(0, slash);
    LOOKBACK_CHECK(!takes_rest_);
    if (segment.ends_with("...}")) {
      takes_rest_ = true;
      segments_.push_back({true, std::string(segment.substr(1, segment.size() - 5))});
    } else if (segment.size() > 2 && segment.front() == '{' && segment.back() == '}') {
      segments_.push_back({true, std::string(segment.substr(1, segment.size() - 2))});
    } else {
      segments_.push_back({false, std::string(segment)});
    }
    if (slash == pattern.size()) break;
    pattern.remove_prefix(slash + 1);
  }
}

std::optional<std::map<std::string, std::string>> RoutePattern::match(const Target& target) const {
  if (takes_rest_ ? target.segments.size() < segments_.size() : target.segments.size() != segments_.size()) return std::nullopt;
  std::map<std::string, std::string> parameters;
  for (size_t i = 0; i < segments_.size(); ++i) {
    if (takes_rest_ && i + 1 == segments_.size()) {
      std::string& rest = parameters[segments_[i].text];
      for (size_t j = i; j < target.segments.size(); ++j) rest += (j == i ? "" : "/") + target.segments[j];
    } else if (segments_[i].parameter) {
      if (target.segments[i].empty()) return std::nullopt;
      parameters.emplace(segments_[i].text, target.segments[i]);
    } else if (segments_[i].text != target.segments[i]) {
      return std::nullopt;
    }
  }
  return parameters;
}

std::string url_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    // the unreserved characters of RFC 3986 section 2.3
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
        c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

}  // namespace lookback::http
