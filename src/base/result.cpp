#include "lookback/base/result.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace lookback {

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
  switch (kind) {
    case ErrorKind::failed: return "failed";
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::conflict: return "conflict";
    case ErrorKind::corrupt: return "corrupt";
    case ErrorKind::no_space: return "no_space";
    case ErrorKind::unreachable: return "unreachable";
    case ErrorKind::unauthorized: return "unauthorized";
    case ErrorKind::cancelled: return "cancelled";
  }
  return "failed";
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "lookback: broken invariant at %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace lookback
