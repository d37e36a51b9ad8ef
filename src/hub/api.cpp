#include "api.hpp"

namespace lookback::hub {

int64_t arrival_ns(const http::Request& request, const Clock& clock) {
  return clock.realtime_ns() - (Clock::system().monotonic_ns() - request.arrived_ns);
}

Result<std::string> read_document(http::Request& request) {
  std::string text;
  std::vector<std::byte> buffer(16 << 10);
  for (;;) {
    TRY_ASSIGN(const size_t n, request.read_body(buffer));
    if (n == 0) return text;
    text.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
}

http::Response no_content() {
  http::Response response;
  response.status = 204;
  return response;
}

http::Response answer(const Result<>& result) {
  if (!result) return http::Response::problem(result.error());
  return no_content();
}

}  // namespace lookback::hub
