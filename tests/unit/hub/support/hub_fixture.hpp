#pragma once
// A hub on a directory of its own, and a client to talk to it.

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "fake_node.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/json.hpp"
#include "lookback/http/client.hpp"
#include "lookback/hub/hub_daemon.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::hub::test {

using lookback::test::TemporaryDirectory;

struct Answer {
  int status = 0;
  Json json;
  std::map<std::string, std::string> headers;
  std::string text;
};

/// Talks to a hub wherever it runs. Makes no assertion, so that threads can use one each: throws
/// where the hub gives no answer.
class HubClient {
 public:
  explicit HubClient(uint16_t port);
  Answer call(const std::string& method, const std::string& path, const Json& body = nullptr);
  Answer get(const std::string& path) { return call("GET", path); }
  Answer beat(const FakeNode& node, int64_t offset_ns = 0, int64_t error_ns = -1);
  /// Orders a snapshot of the last minute; `more` is merged into the order.
  Answer create(const std::string& name, const Json& more = Json::object());
  /// Waits until the snapshot has ended, and returns its object.
  Json wait(const std::string& name, int seconds = 300);
  http::Client& http() { return client_; }

 private:
  Answer send(const std::string& method, const std::string& path, const std::string& body);
  http::Client client_;
};

class HubFixture {
 public:
  explicit HubFixture(HubOptions options = {}, const Clock& clock = Clock::system());
  ~HubFixture();
  void stop();
  void start();
  [[nodiscard]] HubDaemon& daemon() { return *daemon_; }
  [[nodiscard]] HubClient client() const { return HubClient(daemon_->port()); }
  [[nodiscard]] std::filesystem::path directory() const { return options_.data_dir; }
  [[nodiscard]] std::filesystem::path archive(const std::string& name) const {
    return directory() / "snapshots" / (name + ".tar.zst");
  }

 private:
  std::unique_ptr<TemporaryDirectory> own_directory_;
  HubOptions options_;
  const Clock& clock_;
  std::unique_ptr<HubDaemon> daemon_;
};

template <class Condition>
bool eventually(Condition condition, int tries = 2000) {
  for (int i = 0; i < tries; ++i) {
    if (condition()) return true;
    ::usleep(10'000);
  }
  return false;
}

}  // namespace lookback::hub::test
