#include "lookback/http/client.hpp"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <thread>

#include "lookback/http/server.hpp"
#include "support/test_server.hpp"

using namespace lookback;
using namespace lookback::http;
using test::client_of, test::make_server, test::Shared;

namespace {

struct Fixture {
  std::unique_ptr<Server> server;
  Fixture() {
    auto created = Server::create({.listen = "127.0.0.1:0", .tls = {}, .token = ""});
    REQUIRE(created);
    server = std::move(*created);
    server->add({"GET", "/big"}, [](Request&) { return Response::text(std::string(100'000, 'x')); });
    server->add({"GET", "/endless"}, [](Request&) {
      Response response;
      response.stream = [](const BodyWriter& write) -> Result<> {
        const std::vector<std::byte> block(1 << 16);
        for (;;) TRY(write(block));
      };
      return response;
    });
    server->add({"GET", "/silent"}, [](Request&) {
      Response response;
      response.stream = [](const BodyWriter& write) -> Result<> {
        const std::vector<std::byte> block(10);
        TRY(write(block));
        for (;;) {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          TRY(write({}));
        }
      };
      return response;
    });
    server->add({"GET", "/error/{kind}"}, [](Request& request) {
      return Response::problem(
          {static_cast<ErrorKind>(std::stoi(request.parameters.at("kind"))), "what \xff happened"});
    });
    server->add({"GET", "/late-error"}, [](Request&) {
      Response response;
      response.stream = [](const BodyWriter&) -> Result<> {
        return fail(ErrorKind::invalid, "the filter is wrong");
      };
      return response;
    });
    server->add({"GET", "/drip"}, [](Request&) {
      Response response;
      response.stream = [](const BodyWriter& write) -> Result<> {
        const std::vector<std::byte> block(10);
        for (;;) {
          TRY(write(block));
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      };
      return response;
    });
    server->add({"GET", "/plain-error"}, [](Request&) { return Response::text("no", 418); });
    REQUIRE(server->start());
  }
  Client client(ClientOptions options = {}) const {
    options.base_url = fmt::format("http://127.0.0.1:{}/", server->port());
    auto made = Client::create(options);
    REQUIRE(made);
    return std::move(*made);
  }
};

}  // namespace

TEST_CASE("a status becomes the kind that it was made from") {
  const Fixture f;
  Client client = f.client();
  for (const ErrorKind kind :
       {ErrorKind::failed, ErrorKind::invalid, ErrorKind::not_found, ErrorKind::conflict,
        ErrorKind::corrupt, ErrorKind::no_space, ErrorKind::unavailable, ErrorKind::unauthorized}) {
    const auto answer = client.get(fmt::format("/error/{}", static_cast<int>(kind)));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind == kind);
    CHECK(answer.error().message.starts_with("what "));
  }
  const auto plain = client.get("/plain-error");
  CHECK(plain.error().kind == ErrorKind::failed);
  CHECK(plain.error().message.find("418") != std::string::npos);
}

TEST_CASE("answers beyond the limit are refused") {
  const Fixture f;
  Client client = f.client();
  CHECK(client.get("/big", 100'000)->size() == 100'000);
  CHECK(client.get("/big", 99'999).error().kind == ErrorKind::corrupt);
  CHECK(client.get("/endless", 1 << 20).error().kind == ErrorKind::corrupt);
  CHECK(client.get("/big")->size() == 100'000);
}

TEST_CASE("a peer that is not there, says nothing or too little is unreachable") {
  const Fixture f;
  auto nobody = Client::create({.base_url = "http://127.0.0.1:1", .token = "", .ca_file = ""});
  const auto refused = nobody->get("/x");
  CHECK(refused.error().kind == ErrorKind::unreachable);
  CHECK(refused.error().message.find("http://127.0.0.1:1/x") != std::string::npos);
  CHECK(nobody->was_refused());
  ClientOptions options;
  options.stall_timeout_ms = 300;
  Client client = f.client(options);
  const auto sink = [](std::span<const std::byte>) -> Result<> { return {}; };
  CHECK(client.download("/silent", sink).error().kind == ErrorKind::unreachable);
  CHECK_FALSE(client.was_refused());
  options.stall_timeout_ms = 0;
  options.total_timeout_ms = 300;
  CHECK(f.client(options).download("/endless", sink).error().kind == ErrorKind::unreachable);
  CHECK(Client::create({.base_url = "ftp://x", .token = "", .ca_file = ""}).error().kind ==
        ErrorKind::invalid);
  CHECK(Client::create({.base_url = "http://x", .token = "a\r\nb", .ca_file = ""}).error().kind ==
        ErrorKind::invalid);
}

TEST_CASE("a download can be cancelled, and its sink can fail") {
  const Fixture f;
  ClientOptions options;
  options.total_timeout_ms = 0;
  Client client = f.client(options);
  std::atomic<bool> cancelled{false};
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancelled = true;
  });
  const auto ended = client.download(
      "/silent", [](std::span<const std::byte>) -> Result<> { return {}; }, &cancelled);
  canceller.join();
  CHECK(ended.error().kind == ErrorKind::cancelled);
  const auto full = client.download("/endless", [](std::span<const std::byte>) -> Result<> {
    return fail(ErrorKind::no_space, "full");
  });
  CHECK(full.error().kind == ErrorKind::no_space);
  CHECK(client.get("/big")->size() == 100'000);
}

TEST_CASE("a stream that fails before its first byte is a problem document") {
  const Fixture f;
  Client client = f.client();
  const auto answer = client.get("/late-error");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().kind == ErrorKind::invalid);
  CHECK(answer.error().message == "the filter is wrong");
  CHECK(client.get("/big")->size() == 100'000);
  CHECK(f.server->stats().connections == 1);
}

TEST_CASE("fetch takes binary bodies up to a limit and at a decent pace") {
  const Fixture f;
  ClientOptions options;
  options.stall_timeout_ms = 300;
  options.least_bytes_per_second = 10'000;
  Client client = f.client(options);
  std::vector<std::byte> body;
  CHECK(client.fetch("GET", "/big", {}, 100'000, body)->status == 200);
  CHECK(body.size() == 100'000);
  CHECK(client.fetch("GET", "/big", {}, 99'999, body).error().kind == ErrorKind::corrupt);
  const auto plain = client.fetch("GET", "/plain-error", {}, 100, body);
  CHECK(plain->status == 418);
  CHECK(plain->body == "no");
  CHECK(body.empty());
  const auto slow = client.fetch("GET", "/drip", {}, 1 << 20, body);
  REQUIRE_FALSE(slow);
  CHECK(slow.error().kind == ErrorKind::unreachable);
  CHECK(slow.error().message.find("too slow") != std::string::npos);
}

TEST_CASE("a request has headers and credentials of its own") {
  Shared shared;
  ServerOptions server_options;
  server_options.token = "the-token-of-the-server";
  const auto server = make_server(shared, server_options);
  ClientOptions options;
  options.token = server_options.token;
  Client client = client_of(*server, options);
  CHECK(client.request("GET", "/header", "", 1000, {.headers = {{"X-Wanted", "a value"}}})->body == "a value");
  CHECK(client.request("GET", "/header")->body.empty());
  // One of its own stands in place of the client's.
  CHECK(client.request("POST", "/document", "text", 1000, {.headers = {{"content-type", "text/plain"}}})->status == 415);
  CHECK(client.request("POST", "/document", "{}", 1000)->status == 200);
  CHECK(client.request("GET", "/hello", "", 1000, {.authorization = "Bearer another"})->status == 401);
  CHECK(client.request("GET", "/hello", "", 1000, {.authorization = ""})->status == 401);
  CHECK(client.request("GET", "/hello")->status == 200);
}

TEST_CASE("a token that is refused is asked for again") {
  Shared shared;
  ServerOptions server_options;
  server_options.token = "the-new-token-of-the-server";
  const auto server = make_server(shared, server_options);
  std::string token = "the-old-token-of-the-server";
  std::vector<bool> asked;
  ClientOptions options;
  options.token_source = [&](bool refused) -> Result<std::string> {
    asked.push_back(refused);
    if (refused) token = server_options.token;
    return token;
  };
  Client client = client_of(*server, options);
  CHECK(client.request("POST", "/document", "{}")->status == 200);
  CHECK(asked == std::vector<bool>{false, true});
  CHECK(client.request("GET", "/hello")->status == 200);
  CHECK(asked == std::vector<bool>{false, true, false});
  // The same once more would change nothing.
  ClientOptions stubborn;
  int times = 0;
  stubborn.token_source = [&](bool) -> Result<std::string> {
    ++times;
    return std::string("the-old-token-of-the-server");
  };
  CHECK(client_of(*server, stubborn).request("GET", "/hello")->status == 401);
  CHECK(times == 2);
  ClientOptions broken;
  broken.token_source = [&](bool) -> Result<std::string> { return fail(ErrorKind::not_found, "no token"); };
  CHECK(client_of(*server, broken).request("GET", "/hello").error().message == "no token");
}

TEST_CASE("the proxy of the environment is for others than this machine, and for who asks for it") {
  Shared shared;
  const auto proxy = make_server(shared);  // it refuses what is not its own, and counts
  ::setenv("http_proxy", fmt::format("http://127.0.0.1:{}", proxy->port()).c_str(), 1);
  ClientOptions direct, through;
  direct.base_url = through.base_url = "http://192.0.2.1:80";  // nobody's (RFC 5737)
  direct.connect_timeout_ms = through.connect_timeout_ms = 200;
  through.proxy = Proxy::environment;
  CHECK(Client::create(direct)->request("GET", "/x").error().kind == ErrorKind::unreachable);
  CHECK(proxy->stats().requests == 0);
  const auto answer = Client::create(through)->request("GET", "/x");
  CHECK(answer->status == 421);
  CHECK(proxy->stats().requests == 1);
  const auto own = make_server(shared);
  ClientOptions local;
  local.proxy = Proxy::environment;
  CHECK(client_of(*own, local).request("GET", "/hello")->status == 200);
  CHECK(proxy->stats().requests == 1);
  ::unsetenv("http_proxy");
}
