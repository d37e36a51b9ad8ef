#pragma once
// The start line and headers of a response, as bytes.

#include <cstdint>
#include <optional>
#include <string>

#include "lookback/http/server.hpp"

namespace lookback::http {

enum class BodyFraming { length, chunked, until_close };

struct HeadOptions {
  int version = 11;
  bool keep_alive = true;
  BodyFraming framing = BodyFraming::length;
  std::optional<uint64_t>
      length;  ///< nothing with framing length: no Content-Length header (204, 304)
};

[[nodiscard]] std::string format_response_head(const Response& response,
                                               const HeadOptions& options);
/// A response of this status has no body (RFC 9110 section 6.4.1).
[[nodiscard]] bool has_no_body(int status);
/// A problem document for what has no Error behind it.
[[nodiscard]] Response plain_problem(int status, std::string_view detail,
                                     std::string_view kind = "invalid");

}  // namespace lookback::http
