#include "lookback/base/names.hpp"

#include <fnmatch.h>
#include <time.h>

#include "lookback/base/time.hpp"

namespace lookback {

namespace {

Result<> check_name(std::string_view what, std::string_view name, size_t limit) {
  if (name.empty()) return fail(ErrorKind::invalid, "the {} name is empty", what);
  if (name.size() > limit)
    return fail(ErrorKind::invalid, "the {} name is longer than {} characters", what, limit);
  for (const char c : name) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
    if (!ok) {
      return fail(ErrorKind::invalid,
                  "the {} name '{}' may hold only letters, digits, '.', '_' and '-'", what, name);
    }
  }
  if (name[0] == '.' || name[0] == '-')
    return fail(ErrorKind::invalid, "the {} name '{}' may not start with '{}'", what, name, name[0]);
  return {};
}

}  // namespace

Result<> check_snapshot_name(std::string_view name) { return check_name("snapshot", name, 128); }
Result<> check_node_name(std::string_view name) { return check_name("node", name, 63); }

Result<std::string> expand_snapshot_name(std::string_view pattern, int64_t now_ns) {
  std::string name(pattern);
  if (pattern.find('%') != std::string_view::npos) {
    const time_t seconds = now_ns / kNsPerSecond;
    tm fields{};
    ::gmtime_r(&seconds, &fields);
    char buffer[512];
    const size_t n = ::strftime(buffer, sizeof buffer, name.c_str(), &fields);
    name.assign(buffer, n);
  }
  TRY(check_snapshot_name(name));
  return name;
}

bool glob_match(std::string_view pattern, std::string_view text) {
  return pattern == text ||
         ::fnmatch(std::string(pattern).c_str(), std::string(text).c_str(), FNM_NOESCAPE) == 0;
}

}  // namespace lookback
