// Peers that want everything: connections, streams, time.
#include <catch2/catch.hpp>

#include "support/test_server.hpp"

using namespace lookback;
using namespace lookback::http;
using namespace lookback::http::test;

namespace {

constexpr const char* kToken = "a-token-of-some-length";
const std::string kHello = "GET /hello HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer a-token-of-some-length\r\n\r\n";

}  // namespace

TEST_CASE("idle connections make room, strangers before those who showed a token") {
  Shared shared;
  ServerOptions options;
  options.token = kToken;
  options.max_connections = 20;
  options.max_connections_per_address = GENERATE(20U, 12U);
  const auto server = make_server(shared, options);
  const unsigned most = std::min(options.max_connections, options.max_connections_per_address);
  RawClient known(server->port());
  known.send(kHello);
  REQUIRE(known.read_response().ends_with("hello\n"));
  std::vector<RawClient> idle;
  for (unsigned i = 1; i < most; ++i) {
    idle.emplace_back(server->port());
    if (i % 3 == 1) {
      idle.back().send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");  // a refused one is no better
      REQUIRE(idle.back().read_response().starts_with("HTTP/1.1 401"));
    } else if (i % 3 == 2) {
      idle.back().send("GET /hello HTTP/1.1\r\n");  // nor one that begins to speak
    }
  }
  REQUIRE(eventually([&] { return server->stats().connections == most; }));
  for (unsigned i = 0; i < 5; ++i) {
    // A client that is turned away because all were idle for a moment only comes back.
    CHECK(eventually([&] {
      RawClient client(server->port());
      return client.try_send(kHello) && client.read_response().ends_with("hello\n");
    }));
  }
  CHECK(server->stats().evicted >= 1);  // each client leaves its place to the next
  CHECK(server->stats().open_connections <= most);
  known.send(kHello);
  CHECK(known.read_response().ends_with("hello\n"));
}

TEST_CASE("connections that work are never taken away") {
  Shared shared;
  ServerOptions options;
  options.max_connections = 4;
  const auto server = make_server(shared, options);
  std::vector<RawClient> busy;
  for (int i = 0; i < 4; ++i) {
    busy.emplace_back(server->port());
    busy.back().send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  REQUIRE(eventually([&] { return shared.streams == 4; }));
  RawClient waiting(server->port());  // in the backlog
  waiting.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(waiting.read_all(1, 1500).empty());
  CHECK(server->stats().evicted == 0);
  shared.open();
  for (RawClient& client : busy) CHECK(client.read_all(SIZE_MAX, 100).ends_with("open\n\r\n0\r\n\r\n"));
  CHECK(waiting.read_response().ends_with("hello\n"));
}

TEST_CASE("feeds, transfers and orders do not keep each other out") {
  Shared shared;
  ServerOptions options;
  options.max_streams = 2;
  options.max_orders = 2;
  options.max_feeds = 2;
  const auto server = make_server(shared, options);
  std::vector<RawClient> held;
  for (const char* path : {"/feed", "/feed", "/gate", "/gate"}) {
    held.emplace_back(server->port());
    held.back().send(fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", path));
  }
  REQUIRE(eventually([&] { return shared.streams == 4; }));
  for (const char* path : {"/feed", "/gate"}) {
    RawClient more(server->port());
    more.send(fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", path));
    CHECK(more.read_response().starts_with("HTTP/1.1 503"));
  }
  CHECK(*client_of(*server).send("POST", "/order", "{}") == "ordered\n");
  shared.open();
}

TEST_CASE("a client that takes a stream drop by drop loses it") {
  Shared shared;
  ServerOptions options;
  options.stall_timeout_ms = 1'000;
  const auto server = make_server(shared, options);
  RawClient client(server->port(), 4096);
  client.send("GET /stream?bytes=100000000 HTTP/1.1\r\nHost: h\r\n\r\n");
  // Fast enough for the stall's time-out, and far below the least rate.
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done && !client.read_all(64, 100).empty()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
  const auto error = shared.wait_for_error();
  done = true;
  reader.join();
  REQUIRE(error);
  CHECK(error->kind == ErrorKind::cancelled);
  CHECK(eventually([&] { return shared.streams == 0; }));
}

TEST_CASE("a feed sends what comes, to all its readers, without a thread for each") {
  Shared shared;
  ServerOptions options;
  options.max_streams = 1;
  options.max_feeds = 40;
  const auto server = make_server(shared, options);
  std::vector<RawClient> readers;
  for (int i = 0; i < 40; ++i) {
    readers.emplace_back(server->port());
    readers.back().send("GET /feed HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  REQUIRE(eventually([&] { return shared.streams == 40; }));
  CHECK(server->stats().open_streams == 40);
  shared.feed("first\n");
  shared.feed("second\n");
  shared.open();
  for (RawClient& reader : readers) {
    const std::string text = reader.read_all(SIZE_MAX, 100);
    CAPTURE(text);
    CHECK(text.find("Content-Type: text/event-stream") != std::string::npos);
    std::string body;
    for (const char* part : {"open\n", "first\n", "second\n"}) {
      CHECK(text.find(part) != std::string::npos);
      CHECK(text.find(part) == text.rfind(part));
    }
    CHECK(text.ends_with("0\r\n\r\n"));
  }
  CHECK(eventually([&] { return shared.streams == 0 && server->stats().open_streams == 0; }));
}

TEST_CASE("a connection can be used again after a feed, and one of HTTP/1.0 ends with it") {
  Shared shared;
  const auto server = make_server(shared);
  RawClient modern(server->port()), old(server->port()), head(server->port());
  modern.send("GET /feed HTTP/1.1\r\nHost: h\r\n\r\n");
  old.send("GET /feed HTTP/1.0\r\n\r\n");
  head.send("HEAD /feed HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(head.read_response().starts_with("HTTP/1.1 200"));
  REQUIRE(eventually([&] { return shared.streams == 2; }));
  shared.open();
  CHECK(old.read_all(SIZE_MAX, 20'000).ends_with("\r\n\r\nopen\n"));
  CHECK(modern.read_all(SIZE_MAX, 100).ends_with("0\r\n\r\n"));
  modern.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(modern.read_response().ends_with("hello\n"));
}

TEST_CASE("a reader that has gone leaves its feed, and a server with readers stops") {
  Shared shared;
  auto server = make_server(shared);
  {
    RawClient gone(server->port());
    gone.send("GET /feed HTTP/1.1\r\nHost: h\r\n\r\n");
    REQUIRE(eventually([&] { return shared.streams == 1; }));
  }
  // The first text meets a closed socket, the one behind it the reset.
  CHECK(eventually([&] {
    shared.feed("more\n");
    return shared.streams == 0;
  }));
  RawClient reader(server->port());
  reader.send("GET /feed HTTP/1.1\r\nHost: h\r\n\r\n");
  REQUIRE(eventually([&] { return shared.streams == 1; }));
  server->stop();
  server.reset();
  CHECK(shared.streams == 0);
}
