#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "lookback/base/hash.hpp"
#include "support/test_server.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::http;
using namespace lookback::http::test;
using namespace std::chrono_literals;

TEST_CASE("requests reach their handlers with parameters, query and body") {
  Shared shared;
  const auto server = make_server(shared);
  Client client = client_of(*server);
  CHECK(*client.get("/hello") == "hello\n");
  const auto echoed = client.request("POST", "/echo/a%2Fb?q=%26", "{\"x\":1}");
  REQUIRE(echoed);
  CHECK(echoed->status == 200);
  CHECK(echoed->body == "a/b:&:{\"x\":1}");
  CHECK(echoed->headers.at("x-peer") == "127.0.0.1");
  CHECK(echoed->sent_ns < echoed->received_ns);
  CHECK(client.send("DELETE", "/gone", "")->empty());
  CHECK(server->stats().connections == 1);  // kept alive throughout
  CHECK(server->stats().requests == 3);
}

TEST_CASE("the server answers what no handler does") {
  Shared shared;
  const auto server = make_server(shared);
  Client client = client_of(*server);
  const auto nothing = client.get("/nothing");
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().kind == ErrorKind::not_found);
  const auto wrong = client.request("PUT", "/hello");
  CHECK(wrong->status == 405);
  CHECK(wrong->headers.at("allow") == "GET, HEAD, OPTIONS");
  CHECK(wrong->headers.at("content-type") == "application/problem+json");
  const auto options = client.request("OPTIONS", "/echo/x");
  CHECK(options->status == 204);
  CHECK(options->headers.at("allow") == "POST, OPTIONS");
  CHECK(client.request("GET", "/throws")->status == 500);
  const auto head = client.request("HEAD", "/hello");
  CHECK(head->status == 200);
  CHECK(head->headers.at("content-length") == "6");
  CHECK(client.request("HEAD", "/stream?bytes=12345&sized")->headers.at("content-length") ==
        "12345");
  CHECK(client.request("HEAD", "/stream?bytes=12345")->headers.count("content-length") == 0);
  CHECK(shared.streamed == 0);
  const auto split = client.request("GET", "/split");
  CHECK(split->headers.count("x-injected") == 0);
  CHECK(*client.get("/hello") == "hello\n");
}

TEST_CASE("a token is asked for everywhere but on the health checks") {
  Shared shared;
  ServerOptions options;
  options.token = "s3cret";
  const auto server = make_server(shared, options);
  for (const char* token : {"", "s3cre", "s3crett", "S3cret"}) {
    ClientOptions client_options;
    client_options.token = token;
    Client client = client_of(*server, client_options);
    const auto refused = client.request("GET", "/hello");
    CHECK(refused->status == 401);
    CHECK(refused->headers.at("www-authenticate").starts_with("Bearer"));
    CHECK(client.get("/hello").error().kind == ErrorKind::unauthorized);
    CHECK(client.request("GET", "/nothing")->status == 401);
    CHECK(client.request("POST", "/upload", std::string(1 << 20, 'x'))->status == 401);
    CHECK(*client.get("/healthz") == "ok\n");
  }
  ClientOptions client_options;
  client_options.token = "s3cret";
  CHECK(*client_of(*server, client_options).get("/hello") == "hello\n");
  RawClient raw(server->port());
  raw.send("GET /hello HTTP/1.1\r\nHost: h\r\nAuthorization: bEARER  s3cret\r\n\r\n");
  CHECK(raw.read_response().starts_with("HTTP/1.1 200"));
  raw.send("GET /hello HTTP/1.1\r\nHost: h\r\nAuthorization: Basic s3cret\r\n\r\n");
  CHECK(raw.read_response().starts_with("HTTP/1.1 401"));
}

TEST_CASE("other addresses than loopback need a token, and TLS or a word") {
  const auto kind = [](const std::string& listen, bool insecure = false,
                       const std::string& token = "a-token-of-some-length") -> std::optional<ErrorKind> {
    ServerOptions options;
    options.listen = listen;
    options.insecure = insecure;
    options.token = token;
    const auto server = Server::create(options);
    if (server) return std::nullopt;
    return server.error().kind;
  };
  CHECK(kind("0.0.0.0:0") == ErrorKind::invalid);
  CHECK(kind(":0") == ErrorKind::invalid);
  CHECK(kind("[::]:0") == ErrorKind::invalid);
  CHECK(kind("10.1.2.3:0") == ErrorKind::invalid);
  CHECK(kind("example.com:80") == ErrorKind::invalid);
  CHECK(kind("127.0.0.1") == ErrorKind::invalid);
  CHECK(kind("127.0.0.1:99999") == ErrorKind::invalid);
  CHECK(kind("127.0.0.1:x") == ErrorKind::invalid);
  CHECK(kind("::1:80") == ErrorKind::invalid);
  CHECK(kind("0.0.0.0:0", true, "") == ErrorKind::invalid);
  CHECK(kind(":0", true, "") == ErrorKind::invalid);
  CHECK_FALSE(kind("0.0.0.0:0", true));
  CHECK_FALSE(kind("localhost:0", false, ""));
  CHECK_FALSE(kind("127.9.9.9:0"));
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  const auto first = Server::create(options);
  REQUIRE(first);
  CHECK(kind(fmt::format("127.0.0.1:{}", (*first)->port())) == ErrorKind::conflict);
}

TEST_CASE("malformed requests get an answer and a closed connection") {
  Shared shared;
  const auto server = make_server(shared);
  for (const auto& [text, status] : std::vector<std::pair<std::string, std::string>>{
           {"rubbish\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n\r\n", "400"},
           {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
           {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", "505"},
           {"GET /" + std::string(70'000, 'a') + " HTTP/1.1\r\n", "414"},
           {"GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(70'000, 'a'), "431"},
           {"POST /echo/x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n", "413"},
           {"POST /echo/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"},
           {"POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "405"}}) {
    INFO(text.substr(0, 60));
    RawClient client(server->port());
    client.try_send(text);
    const std::string answer = client.read_all();
    CHECK(answer.starts_with("HTTP/1.1 " + status));
    CHECK(answer.find("Connection: close") != std::string::npos);
    CHECK_FALSE(client.was_reset());
  }
  CHECK(*client_of(*server).get("/hello") == "hello\n");
}

TEST_CASE("pipelined requests are answered in order") {
  Shared shared;
  const auto server = make_server(shared);
  RawClient client(server->port());
  std::string text;
  for (int i = 0; i < 50; ++i)
    text += fmt::format("POST /echo/{} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", i);
  client.send(text + "GET /stream?bytes=10 HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HTTP/1.0\r\n\r\n");
  const std::string answers = client.read_all();
  size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = answers.find(fmt::format("{}:-:ab", i), at);
    REQUIRE(at != std::string::npos);
  }
  CHECK(answers.find("0\r\n\r\nHTTP/1.1 200", at) != std::string::npos);
  CHECK(answers.ends_with("hello\n"));
}

TEST_CASE("Expect: 100-continue is honoured, and not sent where the body is unwanted") {
  Shared shared;
  const auto server = make_server(shared);
  for (const char* path : {"/echo/x", "/upload"}) {
    RawClient client(server->port());
    client.send(fmt::format(
        "POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", path));
    CHECK(client.read_all(25) == "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    CHECK(client.read_response().starts_with("HTTP/1.1 200"));
  }
  RawClient client(server->port());
  client.send(
      "POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  CHECK(client.read_all().starts_with("HTTP/1.1 404"));
}

TEST_CASE("slow and silent clients are dropped") {
  Shared shared;
  ServerOptions options;
  options.header_timeout_ms = 300;
  options.idle_timeout_ms = 300;
  options.stall_timeout_ms = 300;
  const auto server = make_server(shared, options);
  SECTION("nothing at all") {
    RawClient client(server->port());
    CHECK(client.read_all().empty());
  }
  SECTION("headers that never end") {
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\n");
    for (int i = 0; i < 100 && client.try_send("A: b\r\n"); ++i) std::this_thread::sleep_for(20ms);
    CHECK(client.read_all().starts_with("HTTP/1.1 408"));
    CHECK(server->stats().timeouts == 1);
  }
  SECTION("a body that stops") {
    RawClient client(server->port());
    client.send("POST /echo/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    CHECK(client.read_all().starts_with("HTTP/1.1 408"));
  }
  SECTION("a body that drips") {
    RawClient client(server->port());
    client.send("POST /echo/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    for (int i = 0; i < 60 && client.try_send("a"); ++i) std::this_thread::sleep_for(20ms);
    CHECK(server->stats().timeouts == 1);
  }
  SECTION("an upload that drips") {
    RawClient client(server->port());
    client.send("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    for (int i = 0; i < 60 && client.try_send("a"); ++i) std::this_thread::sleep_for(20ms);
    const auto error = shared.wait_for_error();
    REQUIRE(error);
    CHECK(error->kind == ErrorKind::cancelled);
  }
  SECTION("a kept connection") {
    RawClient client(server->port());
    client.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(client.read_response().ends_with("hello\n"));
    CHECK(client.read_all().empty());
    CHECK(server->stats().timeouts == 0);
  }
  SECTION("a client that takes nothing of a stream") {
    RawClient client(server->port(), 4096);
    client.send("GET /stream?bytes=100000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    const auto error = shared.wait_for_error();
    REQUIRE(error);
    CHECK(error->kind == ErrorKind::cancelled);
    CHECK(shared.streamed < 100'000'000);
  }
  CHECK(eventually([&] { return server->stats().open_connections == 0; }));
}

TEST_CASE("curl gets what it asks for") {
  Shared shared;
  const auto server = make_server(shared);
  const std::string url = fmt::format("http://127.0.0.1:{}", server->port());
  CHECK(run("curl -sS " + url + "/hello") == "hello\n");
  CHECK(run("curl -sSI " + url + "/hello").find("Content-Length: 6\r\n") != std::string::npos);
  CHECK(run("curl -sS " + url + "/stream?bytes=5000000 | wc -c") == "5000000\n");
  CHECK(run("curl -sS -0 " + url + "/stream?bytes=5000000 | wc -c") == "5000000\n");
  CHECK(run("head -c 3000000 /dev/zero | curl -sS -T - -X POST " + url + "/upload")
            .starts_with("3000000 "));
  CHECK(run("head -c 3000000 /dev/zero | curl -sS --data-binary @- -H 'Expect: 100-continue' " +
            url + "/upload")
            .starts_with("3000000 "));
  CHECK(run("curl -sS -o /dev/null -w '%{http_code}' " + url + "/hello/../hello?x=%zz") == "400");
  CHECK(run("curl -sS " + url + "/hello " + url + "/hello") == "hello\nhello\n");
}

TEST_CASE("two hundred clients at a time") {
  Shared shared;
  ServerOptions options;
  options.workers = 4;
  options.max_connections = 150;  // the rest waits in the backlog
  const auto server = make_server(shared, options);
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 200; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 2; ++round) {
        auto client =
            Client::create({.base_url = fmt::format("http://127.0.0.1:{}", server->port()),
                            .token = "",
                            .ca_file = ""});
        if (!client) return;
        for (int i = 0; i < 3; ++i) {
          const auto answer =
              client->request("POST", fmt::format("/echo/{}", t), std::string(1000 * i, 'x'));
          if (answer && answer->body.size() == fmt::format("{}:-:", t).size() + 1000 * i) ++right;
        }
        uint64_t bytes = 0;
        const auto streamed = client->download("/stream?bytes=200000",
                                               [&](std::span<const std::byte> data) -> Result<> {
                                                 bytes += data.size();
                                                 return {};
                                               });
        if (streamed && bytes == 200'000) ++right;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 200 * 8);
  CHECK(eventually([&] { return server->stats().open_connections == 0; }));
}

TEST_CASE("TLS") {
  const lookback::test::TemporaryDirectory directory;
  const auto certificate = directory / "cert.pem", key = directory / "key.pem";
  make_certificate(certificate, key);
  Shared shared;
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.tls = TlsFiles{certificate, key};
  const auto server = make_server(shared, options);
  const std::string url = fmt::format("https://127.0.0.1:{}", server->port());
  Client client = client_of(
      *server, {.base_url = url, .token = "", .ca_file = certificate, .total_timeout_ms = 0});
  CHECK(*client.get("/hello") == "hello\n");
  uint64_t bytes = 0;
  const auto streamed =
      client.download("/stream?bytes=50000000", [&](std::span<const std::byte> data) -> Result<> {
        bytes += data.size();
        return {};
      });
  REQUIRE(streamed);
  CHECK(bytes == 50'000'000);
  CHECK(*client.get("/hello") == "hello\n");
  uint64_t left = 30'000'000;
  const auto uploaded =
      client.upload("POST", "/upload", [&](std::span<std::byte> out) -> Result<size_t> {
        const size_t n = std::min<uint64_t>(left, out.size());
        std::memset(out.data(), 7, n);
        left -= n;
        return n;
      });
  REQUIRE(uploaded);
  CHECK(uploaded->starts_with("30000000 "));
  CHECK(server->stats().connections == 1);

  Client distrusting = client_of(*server, {.base_url = url, .token = "", .ca_file = ""});
  const auto refused = distrusting.get("/hello");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::unreachable);
  CHECK(refused.error().message.find("--ca-file") != std::string::npos);

  RawClient plain(server->port());
  plain.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(plain.read_all().find("hello") == std::string::npos);
  CHECK(run("curl -sS --cacert " + certificate.string() + " " + url +
            "/stream?bytes=1000000 | wc -c") == "1000000\n");
  CHECK(run("curl -sS -0 --cacert " + certificate.string() + " " + url +
            "/stream?bytes=1000000 | wc -c") == "1000000\n");
  // A client that goes in mid-stream.
  (void)run("curl -sS --cacert " + certificate.string() + " " + url +
            "/stream?bytes=100000000000 | head -c 1000 >/dev/null");
  const auto error = shared.wait_for_error();
  REQUIRE(error);
  CHECK(error->kind == ErrorKind::cancelled);

  options.listen = "0.0.0.0:0";  // TLS and a token are enough for other addresses
  CHECK(Server::create(options).error().kind == ErrorKind::invalid);
  options.token = "a-token-of-some-length";
  CHECK(Server::create(options));
  options.tls = TlsFiles{certificate, certificate};
  CHECK(Server::create(options).error().kind == ErrorKind::invalid);
  options.tls = TlsFiles{directory.path() / "none.pem", key};
  CHECK(Server::create(options).error().kind == ErrorKind::invalid);
}

TEST_CASE("stop() ends streams, uploads and idle connections") {
  Shared shared;
  auto server = make_server(shared);
  RawClient idle(server->port()), streaming(server->port()), uploading(server->port());
  streaming.send("GET /stream?bytes=100000000000 HTTP/1.1\r\nHost: h\r\n\r\n");
  uploading.send("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
  REQUIRE(eventually([&] { return shared.streams == 1 && server->stats().open_streams == 2; }));
  server->stop();
  CHECK(server->stats().open_streams == 0);
  server.reset();
  CHECK(shared.streams == 0);
}

TEST_CASE("a server that was never started goes quietly") {
  CHECK(Server::create({.listen = "127.0.0.1:0", .tls = {}, .token = ""}));
}
