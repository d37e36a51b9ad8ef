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
  CHECK(role_of(kToken) == TokenRole::hub);
  CHECK(role_of(client_token(kToken)) == TokenRole::client);
  CHECK(role_of(node_token(kToken, "web-1")) == TokenRole::node);
  for (const std::string& other : {std::string("node-"), node_token(kToken, "x") + "0", "node-" + std::string(64, 'g'), std::string(64, 'a')})
    CHECK(role_of(other) == TokenRole::hub);
}

TEST_CASE("a token beside the server's does what the rule says") {
  Shared shared;
  ServerOptions options;
  options.token = kToken;
  std::string asked_method, asked_path;
  options.further_tokens = [&](std::string_view token, const std::string& method, const std::string& path) {
    asked_method = method;
    asked_path = path;
    if (token != "another") return Access::unknown;
    return path == "/hello" ? Access::allowed : Access::forbidden;
  };
  const auto server = make_server(shared, options);
  CHECK(status_with(*server, "another", "GET", "/hello?x=1") == 200);
  CHECK(asked_method == "GET");
  CHECK(asked_path == "/hello");
  CHECK(status_with(*server, "another", "POST", "/upload") == 403);
  CHECK(status_with(*server, "another", "GET", "/nothing") == 403);
  CHECK(status_with(*server, "third", "GET", "/hello") == 401);
  CHECK(status_with(*server, "", "GET", "/hello") == 401);
  CHECK(status_with(*server, kToken, "GET", "/hello") == 200);
}
