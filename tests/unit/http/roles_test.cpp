#include <catch2/catch.hpp>
#include <set>

#include "lookback/base/hash.hpp"
#include "lookback/http/roles.hpp"
#include "support/test_server.hpp"

using namespace lookback;
using namespace lookback::http;
using namespace lookback::http::test;

namespace {

constexpr const char* kToken = "a-token-of-some-length";

int status_with(const Server& server, const std::string& token, const std::string& method, const std::string& path) {
  ClientOptions options;
  options.token = token;
  return client_of(server, options).request(method, path)->status;
}

}  // namespace

TEST_CASE("HMAC-SHA-256 is that of RFC 4231") {
  CHECK(hmac_sha256_hex("Jefe", "what do ya want for nothing?") ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hmac_sha256_hex(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First") ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("each role and node has a token of its own") {
  const std::set<std::string> tokens{kToken,
                                     client_token(kToken),
                                     node_token(kToken, "web-1"),
                                     node_token(kToken, "web-2"),
                                     node_token(std::string(kToken) + "2", "web-1"),
                                     client_token(client_token(kToken)),
                                     node_token(kToken, "client")};
  CHECK(tokens.size() == 7);
  CHECK(node_token(kToken, "web-1") == node_token(kToken, "web-1"));
  CHECK(role_of(kToken) == Role::admin);
  CHECK(role_of(client_token(kToken)) == Role::client);
  CHECK(role_of(node_token(kToken, "web-1")) == Role::node);
  for (const std::string& other : {std::string("node-"), node_token(kToken, "x") + "0", "node-" + std::string(64, 'g'), std::string(64, 'a')})
    CHECK(role_of(other) == Role::admin);
}

TEST_CASE("a request is made by somebody, who may do what the role of the route allows") {
  Shared shared;
  ServerOptions options;
  options.token = kToken;
  options.further_tokens = derived_tokens(kToken);
  const auto server = make_server(shared, options);
  const std::string ops = client_token(kToken), web1 = node_token(kToken, "web-1"), web2 = node_token(kToken, "web-2");
  const auto body_with = [&](const std::string& token, const std::string& path) {
    ClientOptions client;
    client.token = token;
    return client_of(*server, client).request("GET", path)->body;
  };
  CHECK(body_with(kToken, "/whoami") == "admin admin");
  CHECK(body_with(ops, "/whoami") == "client client");

  struct Row {
    std::string token, method, path;
    int status;
  };
  const Row rows[] = {
      {kToken, "GET", "/hello", 200},
      {kToken, "POST", "/nodes/web-1/report", 200},
      {kToken, "DELETE", "/everything", 200},
      {ops, "GET", "/hello?x=1", 200},
      {ops, "HEAD", "/hello", 200},
      {ops, "POST", "/nodes/web-1/report", 403},
      {ops, "DELETE", "/everything", 403},
      {ops, "GET", "/nothing", 404},
      {ops, "DELETE", "/hello", 405},
      {web1, "POST", "/nodes/web-1/report", 200},
      // There is no list of nodes: at any other place a node's token is nobody's.
      {web2, "POST", "/nodes/web-1/report", 401},
      {web1, "GET", "/hello", 401},
      {web1, "DELETE", "/everything", 401},
      {web1, "GET", "/nodes/web-1/report", 401},
      {"", "GET", "/hello", 401},
      {"", "GET", "/nothing", 401},
      {"", "GET", "/healthz", 200},
      {"another-token-of-some-length", "GET", "/healthz", 200},
      {"another-token-of-some-length", "GET", "/hello", 401},
  };
  for (const Row& row : rows) {
    CAPTURE(row.token, row.method, row.path);
    CHECK(status_with(*server, row.token, row.method, row.path) == row.status);
  }
  ClientOptions node;
  node.token = web1;
  CHECK(client_of(*server, node).request("POST", "/nodes/web-1/report")->body == "web-1");
}

TEST_CASE("everybody is the admin where no token is asked for") {
  Shared shared;
  const auto server = make_server(shared);
  CHECK(*client_of(*server).get("/whoami") == "admin admin");
  CHECK(status_with(*server, "", "DELETE", "/everything") == 200);
}

TEST_CASE("a route with a rest leaves the others theirs") {
  Shared shared;
  const auto server = make_server(shared);
  Client client = client_of(*server);
  CHECK(*client.get("/files/a/b%20c.js") == "a/b c.js");
  CHECK(*client.get("/files/index") == "the index\n");
  CHECK(client.request("POST", "/files/index", "{}")->headers.at("allow") == "GET, HEAD, OPTIONS");
  const auto answer = client.request("GET", "/files/x");
  CHECK(answer->headers.at("content-security-policy") == "default-src 'self'");
  CHECK(answer->headers.at("cache-control") == "public, max-age=60");
  CHECK(answer->headers.at("x-frame-options") == "DENY");
  CHECK(client.request("GET", "/hello")->headers.at("cache-control") == "no-store");
}
