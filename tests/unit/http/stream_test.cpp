// Streamed responses and uploads.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "lookback/base/hash.hpp"
#include "support/test_server.hpp"

using namespace lookback;
using namespace lookback::http;
using namespace lookback::http::test;
using namespace std::chrono_literals;

TEST_CASE("streams arrive whole, with back-pressure and without a thread left behind") {
  Shared shared;
  const auto server = make_server(shared);
  Client client =
      client_of(*server, {.base_url = "", .token = "", .ca_file = "", .total_timeout_ms = 0});
  for (const char* query :
       {"bytes=300000000", "bytes=300000000&sized", "bytes=0", "bytes=0&sized"}) {
    INFO(query);
    uint64_t bytes = 0;
    const std::string block = pattern(1 << 16);
    bool right = true;
    const auto response = client.download(
        std::string("/stream?") + query, [&](std::span<const std::byte> data) -> Result<> {
          for (size_t done = 0; done < data.size();) {
            const size_t at = bytes % block.size(),
                         n = std::min(block.size() - at, data.size() - done);
            right = right && std::memcmp(block.data() + at, data.data() + done, n) == 0;
            bytes += n;
            done += n;
          }
          return {};
        });
    REQUIRE(response);
    CHECK(right);
    CHECK(bytes == std::stoull(std::string(query).substr(6)));
  }
  CHECK(server->stats().connections == 1);
  CHECK(eventually([&] { return server->stats().open_streams == 0; }));
  // A reader that stops for a while holds the writer back: only socket buffers run full.
  RawClient slow(server->port(), 4096);
  slow.send("GET /stream?bytes=200000000&sized HTTP/1.0\r\n\r\n");
  const uint64_t before = 600'000'000;
  REQUIRE(eventually([&] { return shared.streams == 1; }));
  std::this_thread::sleep_for(300ms);
  CHECK(shared.streamed - before < 20'000'000);
  const std::string all = slow.read_all();
  CHECK(all.size() - all.find("\r\n\r\n") - 4 == 200'000'000);
}

TEST_CASE("a stream that fails is seen to have failed") {
  Shared shared;
  const auto server = make_server(shared);
  for (const char* query : {"/stream?bytes=1000000&fails", "/stream?bytes=1000000&sized&fails"}) {
    Client client = client_of(*server);
    const auto response =
        client.download(query, [](std::span<const std::byte>) -> Result<> { return {}; });
    REQUIRE_FALSE(response);
    CHECK(response.error().kind == ErrorKind::unreachable);
  }
  RawClient old(server->port());
  old.send("GET /stream?bytes=1000000&fails HTTP/1.0\r\n\r\n");
  (void)old.read_all();
  CHECK(old.was_reset());
}

TEST_CASE("a client that goes ends its stream") {
  Shared shared;
  const auto server = make_server(shared);
  {
    RawClient client(server->port());
    client.send("GET /stream?bytes=100000000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    (void)client.read_all(100'000);
    client.reset();
  }
  const auto error = shared.wait_for_error();
  REQUIRE(error);
  CHECK(error->kind == ErrorKind::cancelled);
  CHECK(eventually([&] { return server->stats().open_connections == 0; }));
}

TEST_CASE("streams beyond the limit are refused, and plain requests still answered") {
  Shared shared;
  ServerOptions options;
  options.max_streams = 3;
  options.workers = 2;
  const auto server = make_server(shared, options);
  std::vector<std::unique_ptr<RawClient>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(std::make_unique<RawClient>(server->port()));
    waiting.back()->send("GET /gate HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  REQUIRE(eventually([&] { return shared.streams == 3; }));
  Client client = client_of(*server);
  CHECK(client.request("GET", "/gate")->status == 503);
  CHECK(client.request("POST", "/upload", "abc")->status == 503);
  CHECK(*client.get("/hello") == "hello\n");
  CHECK(server->stats().refused == 2);
  shared.open();
  for (auto& one : waiting) CHECK(one->read_all(SIZE_MAX, 500).ends_with("0\r\n\r\n"));
  REQUIRE(eventually([&] { return server->stats().open_streams == 0; }));
  CHECK(*client.get("/gate") == "open\n");
}

TEST_CASE("uploads are read as they come") {
  Shared shared;
  const auto server = make_server(shared);
  Client client =
      client_of(*server, {.base_url = "", .token = "", .ca_file = "", .total_timeout_ms = 0});
  const std::string block = pattern(1 << 20);
  Sha256 hash;
  for (int i = 0; i < 100; ++i) hash.update(as_bytes(block));
  const std::string expected = fmt::format("{} {}", 100 * block.size(), to_hex(hash.finish()));
  const auto source = [&](uint64_t total) {
    return [&block, total, done = uint64_t{0}](std::span<std::byte> out) mutable -> Result<size_t> {
      const size_t at = done % block.size();
      const size_t n = std::min<uint64_t>({out.size(), block.size() - at, total - done});
      std::memcpy(out.data(), block.data() + at, n);
      done += n;
      return n;
    };
  };
  const auto answer = client.upload("POST", "/upload", source(100 * block.size()));
  REQUIRE(answer);
  CHECK(*answer == expected);
  // A handler that stops reading: the client gets its answer, not a reset.
  const auto stopped = client.upload("POST", "/upload?stop", source(100 * block.size()));
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().kind == ErrorKind::conflict);
  CHECK(stopped.error().message == "no more of this");
  const auto failing = client.upload("POST", "/upload", [](std::span<std::byte>) -> Result<size_t> {
    return fail(ErrorKind::corrupt, "source broke");
  });
  REQUIRE_FALSE(failing);
  CHECK(failing.error().message == "source broke");
  const auto error = shared.wait_for_error();
  REQUIRE(error);
  CHECK(error->kind == ErrorKind::cancelled);
}
