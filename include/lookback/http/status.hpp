#pragma once
// HTTP statuses (RFC 9110 section 15) and kinds of errors: one map, for what daemons answer and for what clients make of it.

#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::http {

/// "Not Found"; "Status" for one that is not known.
[[nodiscard]] std::string_view reason_phrase(int status);
/// What an answer with a status of 400 and above means to who asked. It never means unreachable: somebody answered.
[[nodiscard]] ErrorKind kind_of_status(int status);
/// The status of an answer that tells of an error.
[[nodiscard]] int status_of(ErrorKind kind);

}  // namespace lookback::http
