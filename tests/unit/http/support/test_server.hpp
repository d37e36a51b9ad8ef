#pragma once
// A server with handlers for every kind of exchange, and what its tests share.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "lookback/http/client.hpp"
#include "lookback/http/server.hpp"
#include "raw_client.hpp"

namespace lookback::http::test {

/// Bytes that do not repeat soon.
[[nodiscard]] std::string pattern(size_t bytes);

/// What handlers and tests tell each other.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Error> stream_error;
  std::atomic<int> streams{0};
  std::atomic<uint64_t> streamed{0};
  bool open_gate = false;
  std::string feed_text;  // what every reader of /feed gets
  std::map<const void*, std::function<void()>> wakes;

  void feed(const std::string& text);
  /// Ends what waits: /gate and /feed.
  void open();

  std::optional<Error> wait_for_error() {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(20), [&] { return stream_error.has_value(); });
    return stream_error;
  }
};

/// GET /hello /healthz /throws /split /stream?bytes=&sized&fails /gate /feed /whoami /files/{path...}, POST /echo/{name}
/// /upload?stop with bodies of any type, /document and /order with JSON up to 1000 bytes, /nodes/{name}/report for nodes,
/// DELETE /gone, /everything for the admin. It answers to the name "h" as well.
[[nodiscard]] std::unique_ptr<Server> make_server(Shared& shared, ServerOptions options = {});
[[nodiscard]] Client client_of(const Server& server, ClientOptions options = {});
/// A shell command's output.
[[nodiscard]] std::string run(const std::string& command);

template <class Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace lookback::http::test
