#include "hub_fixture.hpp"

#include <catch2/catch.hpp>
#include <stdexcept>

#include "lookback/base/time.hpp"

namespace lookback::hub::test {

// No assertions here: clients are used in threads, where Catch2 allows none. What goes wrong is
// thrown, and a future brings it to the test.

HubClient::HubClient(uint16_t port)
    : client_([&] {
        http::ClientOptions options;
        options.base_url = fmt::format("http://127.0.0.1:{}", port);
        options.total_timeout_ms = 120'000;
        options.stall_timeout_ms = 120'000;
        auto client = http::Client::create(options);
        if (!client) throw std::runtime_error(client.error().message);
        return std::move(*client);
      }()) {}

Answer HubClient::send(const std::string& method, const std::string& path,
                       const std::string& body) {
  auto response = client_.request(method, path, body);
  if (!response)
    throw std::runtime_error(fmt::format("{} {}: {}", method, path, response.error().message));
  Answer answer;
  answer.status = response->status;
  answer.headers = std::move(response->headers);
  answer.text = std::move(response->body);
  if (auto json = parse_json(answer.text, "answer")) answer.json = std::move(*json);
  return answer;
}

Answer HubClient::call(const std::string& method, const std::string& path, const Json& body) {
  return send(method, path, body.is_null() ? std::string() : body.dump());
}

Answer HubClient::beat(const FakeNode& node, int64_t offset_ns, int64_t error_ns) {
  return send("POST", "/api/v1/nodes/" + node.name() + "/heartbeat",
              node.heartbeat(offset_ns, error_ns));
}

Answer HubClient::create(const std::string& name, const Json& more) {
  Json order = {{"name", name}, {"last_ns", 60 * kNsPerSecond}};
  for (const auto& [key, value] : more.items()) {
    if (value.is_null()) {
      order.erase(key);
    } else {
      order[key] = value;
    }
  }
  return call("POST", "/api/v1/snapshots", order);
}

Json HubClient::wait(const std::string& name, int seconds) {
  Json object;
  const bool ended = eventually(
      [&] {
        const Answer answer = get("/api/v1/snapshots/" + name);
        if (answer.status != 200) return false;
        object = answer.json;
        const std::string state = object.at("state");
        return state == "completed" || state == "failed";
      },
      seconds * 100);
  if (!ended)
    throw std::runtime_error(fmt::format("snapshot {} does not end: {}", name, object.dump(2)));
  return object;
}

HubFixture::HubFixture(HubOptions options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {
  if (options_.data_dir.empty()) {
    own_directory_ = std::make_unique<TemporaryDirectory>();
    options_.data_dir = *own_directory_ / "hub";
  }
  options_.listen = "127.0.0.1:0";
  start();
}

HubFixture::~HubFixture() {
  stop();
}

void HubFixture::stop() {
  daemon_.reset();
}

void HubFixture::start() {
  auto daemon = HubDaemon::start(options_, clock_);
  if (!daemon) FAIL(daemon.error().message);
  daemon_ = std::move(*daemon);
}

}  // namespace lookback::hub::test
