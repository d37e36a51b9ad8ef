#pragma once
// Bytes from a client to a request: the HTTP/1.1 grammar is Boost.Beast's, the limits and the rules
// of RFC 9112 that Beast leaves to its user are here. Knows no socket, so that the fuzzer and the
// tests feed it directly. One thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lookback/http/server.hpp"
#include "target.hpp"

namespace lookback::http {

inline constexpr size_t kMaxTargetBytes = 8 << 10;
inline constexpr size_t kMaxHeaderBytes = 64 << 10;

/// Why a request is not taken: the status to answer with, after which the connection ends.
struct Refusal {
  int status = 400;
  std::string detail;
};

/// What the start line and the headers say.
struct RequestHead {
  std::string method;
  Target target;
  std::map<std::string, std::string>
      headers;       ///< names in lower case; repeated ones joined with ", "
  int version = 11;  ///< 10 or 11
  bool keep_alive = false;
  bool expects_continue = false;
  bool has_body = false;
  std::optional<uint64_t> content_length;  ///< nothing: no body, or a chunked one
};

/// Reads one request. Feed it until the headers are there, then until the body is.
class RequestReader {
 public:
  enum class Outcome { need_more, head_done, body_done, output_full, refused };
  struct Step {
    Outcome outcome = Outcome::need_more;
    size_t consumed = 0;  ///< of the input
    size_t produced = 0;  ///< body bytes written to the output
  };

  RequestReader();
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;
  RequestReader& operator=(RequestReader&&) noexcept;

  /// Input that was not consumed must be offered again, with more behind it. Ends in head_done or
  /// refused.
  [[nodiscard]] Step read_head(std::string_view input);
  /// After head_done of a request with a body.
  [[nodiscard]] Step read_body(std::string_view input, std::span<char> output);

  [[nodiscard]] RequestHead& head();
  [[nodiscard]] bool body_done() const;  ///< also for requests without one
  [[nodiscard]] const Refusal& refusal() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lookback::http
