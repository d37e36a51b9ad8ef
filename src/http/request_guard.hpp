#pragma once
// Keeps web pages out. A page in a browser of this machine, or of one that reaches it, can send requests to a daemon:
// under a name of its own that DNS suddenly has mean this address (rebinding), or straight to the address, with a body
// of a type that no browser asks about first (the "simple" requests of the Fetch standard). Programs send none of what
// is refused here. Knows no socket. Any thread.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/http/server.hpp"
#include "request_reader.hpp"

namespace lookback::http {

class RequestGuard {
 public:
  /// `allowed_hosts`: beside the machine's own. `in_certificate`: whether the server's TLS certificate is for a name;
  /// empty: there is none.
  RequestGuard(const std::vector<std::string>& allowed_hosts, bool tls,
               std::function<bool(const std::string&)> in_certificate);

  /// Before anything else of a request is looked at: 421 for a host that the daemon is not, 403 for a page of another
  /// origin. `local_address`: where the connection came in.
  [[nodiscard]] std::optional<Refusal> check(const RequestHead& head, std::string_view local_address) const;
  /// 415 for a body of another type than the route takes.
  [[nodiscard]] static std::optional<Refusal> check_type(const RequestHead& head, const BodyRule& rule);

 private:
  [[nodiscard]] bool is_known(const std::string& host, std::string_view local_address) const;
  [[nodiscard]] std::optional<Refusal> check_host(std::string_view authority, std::string_view local_address) const;

  std::vector<std::string> allowed_hosts_;
  const std::string scheme_;
  const std::function<bool(const std::string&)> in_certificate_;
};

}  // namespace lookback::http
