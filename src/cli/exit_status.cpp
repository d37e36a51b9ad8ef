#include "cli/exit_status.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "lookback/base/fd.hpp"
#include "lookback/base/text.hpp"

namespace lookback::cli {

namespace {

void line_on_standard_error(std::string_view message) {
  // One write(2), so that lines of several processes do not mix. Nobody is left to tell when it
  // fails.
  (void)write_all(STDERR_FILENO, as_bytes(fmt::format("lookback: {}\n", printable(message))));
}

}  // namespace

int exit_status(const Error& error) {
  switch (error.kind) {
    case ErrorKind::invalid:
      return kExitUsage;
    case ErrorKind::not_found:
      return kExitNotFound;
    case ErrorKind::unreachable:
      return kExitUnreachable;
    case ErrorKind::failed:
    case ErrorKind::unavailable:
    case ErrorKind::conflict:
    case ErrorKind::corrupt:
    case ErrorKind::no_space:
    case ErrorKind::unauthorized:
    case ErrorKind::cancelled:
      return kExitFailed;
  }
  return kExitFailed;
}

void report_error(const Error& error) {
  line_on_standard_error(error.message);
}
void report_note(std::string_view message) {
  line_on_standard_error(message);
}

Result<> print(std::string_view text) {
  std::span<const std::byte> rest = as_bytes(text);
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE) return {};
      return fail_errno(errno, "cannot write standard output");
    }
    rest = rest.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<> print_line(std::string_view line) {
  return print(printable(line) + "\n");
}

}  // namespace lookback::cli
