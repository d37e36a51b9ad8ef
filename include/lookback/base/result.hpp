#pragma once
// How functions fail. A Result carries a value or an Error; the Error's kind decides the exit status and the
// HTTP status, its message is one line that says what failed, on what, and where possible what to do next.
// Broken invariants do not travel this way: they abort (LOOKBACK_CHECK), in release builds too.

#include <fmt/core.h>

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace lookback {

enum class ErrorKind {
  failed,       ///< the operation was tried and did not work (I/O, a peer's refusal)
  invalid,      ///< the caller's input is wrong: usage, syntax, an impossible window
  not_found,    ///< no such snapshot, node, file, job
  conflict,     ///< it exists already, or is in a state that does not allow this
  corrupt,      ///< bytes from outside do not parse or do not match their checksum
  no_space,     ///< the disk or the quota cannot hold it
  unreachable,  ///< the hub or a node does not answer
  unavailable,  ///< it answers, but cannot do this now
  unauthorized, ///< no token, or a wrong one
  cancelled,    ///< somebody asked for it to stop
};

struct Error {
  ErrorKind kind = ErrorKind::failed;
  std::string message;

  /// The same error with the context put in front: "context: message".
  [[nodiscard]] Error in(std::string_view context) const {
    return {kind, fmt::format("{}: {}", context, message)};
  }
};

template <class T = void>
using Result = tl::expected<T, Error>;

template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format,
                                         Args&&... args) {
  return tl::make_unexpected(Error{kind, fmt::format(format, std::forward<Args>(args)...)});
}

/// An Error from an errno value; ENOSPC and EDQUOT become no_space, ENOENT not_found, EEXIST conflict.
[[nodiscard]] Error errno_error(int error_number, std::string_view what);
[[nodiscard]] inline tl::unexpected<Error> fail_errno(int error_number, std::string_view what) {
  return tl::make_unexpected(errno_error(error_number, what));
}

/// Whether the same may work a little later.
[[nodiscard]] constexpr bool may_pass(ErrorKind kind) {
  return kind == ErrorKind::unreachable || kind == ErrorKind::unavailable;
}

/// The lower-case word for a kind, as used in logs and problem documents.
[[nodiscard]] std::string_view to_string(ErrorKind kind);
/// Nothing for a word that does not stand for one.
[[nodiscard]] std::optional<ErrorKind> error_kind(std::string_view word);

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace lookback

/// An invariant of our own. Never for input from outside.
#define LOOKBACK_CHECK(condition) \
  ((condition) ? (void)0 : ::lookback::check_failed(#condition, __FILE__, __LINE__))

#define LOOKBACK_CONCAT_(a, b) a##b
#define LOOKBACK_CONCAT(a, b) LOOKBACK_CONCAT_(a, b)

/// Returns the error of `expression` from the enclosing function, if it has one.
#define TRY(expression)                                                                       \
  do {                                                                                        \
    if (auto try_result_ = (expression); !try_result_)                                        \
      return tl::make_unexpected(std::move(try_result_).error());                             \
  } while (false)

/// Declares or assigns `target` from the value of `expression`, or returns its error.
#define TRY_ASSIGN(target, expression)                                                        \
  auto LOOKBACK_CONCAT(try_value_, __LINE__) = (expression);                                  \
  if (!LOOKBACK_CONCAT(try_value_, __LINE__))                                                 \
    return tl::make_unexpected(std::move(LOOKBACK_CONCAT(try_value_, __LINE__)).error());     \
  target = std::move(*LOOKBACK_CONCAT(try_value_, __LINE__))
