// Bytes from a client through the parsing that the server does before any handler runs: head,
// target, routes, who may ask, body framing, ranges. The first byte says in what pieces the rest comes; what is
// parsed must not depend on it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/request_guard.hpp"
#include "http/request_reader.hpp"
#include "http/target.hpp"
#include "lookback/http/own_host.hpp"
#include "lookback/http/range.hpp"

using namespace lookback::http;

namespace {

struct Parsed {
  int status = 0;
  bool head = false, whole = false;
  std::string method, path, body;
  friend bool operator==(const Parsed&, const Parsed&) = default;
};

Parsed parse(std::string_view text, size_t step, size_t room) {
  using Outcome = RequestReader::Outcome;
  RequestReader reader;
  Parsed parsed;
  std::string pending, output(room, '\0');
  size_t offered = 0;
  for (;;) {
    const auto taken = parsed.head ? reader.read_body(pending, output) : reader.read_head(pending);
    if (taken.consumed > pending.size() || taken.produced > room) std::abort();
    parsed.body.append(output, 0, taken.produced);
    pending.erase(0, taken.consumed);
    if (taken.outcome == Outcome::refused) {
      parsed.status = reader.refusal().status;
      if (parsed.status < 400 || parsed.status > 599) std::abort();
      return parsed;
    }
    if (taken.outcome == Outcome::head_done) {
      parsed.head = true;
      parsed.method = reader.head().method;
      parsed.path = reader.head().target.path;
      if (!reader.head().has_body) break;
      continue;
    }
    if (taken.outcome == Outcome::body_done) break;
    if (taken.outcome == Outcome::output_full) continue;
    if (offered == text.size()) return parsed;
    const size_t n = std::min(step, text.size() - offered);
    pending.append(text.substr(offered, n));
    offered += n;
  }
  parsed.whole = true;
  static const RoutePattern patterns[] = {RoutePattern("/"), RoutePattern("/api/v1/nodes/{name}/heartbeat"),
                                          RoutePattern("/api/v1/snapshots/{name}/pcap"), RoutePattern("/files/{path...}")};
  for (const RoutePattern& pattern : patterns) (void)pattern.match(reader.head().target);
  static const RequestGuard guard({"hub.example", "[::1]:80"}, false, {});
  const auto refusal = guard.check(reader.head(), "10.0.0.1");
  const auto host = reader.head().headers.find("host");
  const bool asks_health = parsed.path == "/healthz" || parsed.path == "/readyz";
  if (!refusal && !asks_health && host != reader.head().headers.end() && !authority_host(host->second))
    std::abort();
  if (refusal && refusal->status != 421 && refusal->status != 403) std::abort();
  (void)RequestGuard::check_type(reader.head(), BodyRule());
  if (const auto it = reader.head().headers.find("range"); it != reader.head().headers.end()) {
    for (const uint64_t total : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, UINT64_MAX}) {
      const auto range = parse_range(it->second, total);
      if (range && *range && ((*range)->first > (*range)->last || (*range)->last >= total))
        std::abort();
    }
  }
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  (void)parse_target(text);
  (void)percent_decode(text, true);
  const Parsed whole = parse(text, std::max<size_t>(1, text.size()), 1 << 16);
  const Parsed pieces = parse(text, 1 + data[0] % 16, 1 + data[0] / 16);
  // A refusal may come earlier or later in the text, but not turn into its opposite.
  if (whole.whole != pieces.whole || (whole.whole && !(whole == pieces))) std::abort();
  return 0;
}
