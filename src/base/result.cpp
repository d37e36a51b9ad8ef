#include "lookback/base/result.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "lookback/base/enum_names.hpp"

namespace lookback {

namespace {

constexpr EnumNames<ErrorKind, 10> kKinds{{"failed", "invalid", "not_found", "conflict", "corrupt", "no_space", "unreachable",
                                           "unavailable", "unauthorized", "cancelled"}};

}  // namespace

Error errno_error(int error_number, std::string_view what) {
  ErrorKind kind = ErrorKind::failed;
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: kind = ErrorKind::no_space; break;
    case ENOENT: kind = ErrorKind::not_found; break;
    case EEXIST: kind = ErrorKind::conflict; break;
    default: break;
  }
  char buffer[128];
  return {kind, fmt::format("{}: {}", what, strerror_r(error_number, buffer, sizeof buffer))};
}

std::string_view to_string(ErrorKind kind) {
  return kKinds.of(kind);
}

std::optional<ErrorKind> error_kind(std::string_view word) {
  return kKinds.find(word);
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "lookback: broken invariant at %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace lookback
