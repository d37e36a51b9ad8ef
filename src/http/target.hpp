#pragma once
// The request target (RFC 9112 section 3.2): its path and query, decoded (RFC 3986), and matched
// against routes.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::http {

/// Replaces %XX; kind invalid for a broken escape, a control character or text that is not UTF-8.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text, bool plus_is_space);

struct Target {
  std::string path;                   ///< decoded
  std::vector<std::string> segments;  ///< decoded one by one: an escaped slash does not separate
  std::multimap<std::string, std::string> query;
  std::optional<std::string> authority;  ///< of the absolute form: "host:port"
};

/// Takes origin form ("/a?b"), absolute form ("http://host/a?b") and "*".
[[nodiscard]] Result<Target> parse_target(std::string_view text);

/// A pattern such as "/api/v1/nodes/{name}" or "/files/{path...}", cut into segments once. Where it has a rest, that is its
/// last segment, and takes one segment or more, joined with slashes.
class RoutePattern {
 public:
  explicit RoutePattern(std::string_view pattern);
  /// The parameters, or nothing where the path is another.
  [[nodiscard]] std::optional<std::map<std::string, std::string>> match(const Target& target) const;
  [[nodiscard]] bool takes_rest() const { return takes_rest_; }

 private:
  struct Segment {
    bool parameter;
    std::string text;
  };
  std::vector<Segment> segments_;
  bool takes_rest_ = false;
};

}  // namespace lookback::http
