#include <catch2/catch.hpp>

#include "lookback/http/own_host.hpp"
#include "support/test_server.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::http;
using namespace lookback::http::test;

namespace {

std::string ask(const Server& server, const std::string& start, const std::string& headers, const std::string& body = {}) {
  RawClient client(server.port());
  std::string text = start + " HTTP/1.1\r\n" + headers;
  const bool is_head = start.starts_with("HEAD ");  // its length is not that of a body that comes
  if (is_head) text += "Connection: close\r\n";
  if (!body.empty()) text += fmt::format("Content-Length: {}\r\n", body.size());
  client.send(text + "\r\n" + body);
  return is_head ? client.read_all() : client.read_response();
}

std::string status_of(const std::string& answer) { return answer.substr(9, 3); }

}  // namespace

TEST_CASE("hosts are taken apart, and this machine's are known") {
  CHECK(authority_host("A.Example:80") == "a.example");
  CHECK(authority_host("localhost.") == "localhost");
  CHECK(authority_host("[::1]:7400") == "::1");
  CHECK(authority_host("[fe80::1%eth0]") == "fe80::1");
  CHECK(authority_host("10.0.0.1") == "10.0.0.1");
  CHECK(authority_host("::1") == "::1");
  for (const char* wrong : {"", ":80", "a b", "user@h", "h:x", "h:99999", "[::1", "[::1]x", "[1.2.3.4]", "h/x", "h\"", "a:1:2"}) {
    INFO(wrong);
    CHECK_FALSE(authority_host(wrong));
  }
  for (const char* own : {"localhost", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"}) CHECK(is_own_host(own));
  // documentation addresses and names (RFC 5737, 3849, 2606), and what only looks like loopback
  for (const char* foreign : {"192.0.2.1", "2001:db8::1", "evil.example", "127.0.0.1.evil.example", "0.0.0.0", "localhost.evil.example"}) {
    INFO(foreign);
    CHECK_FALSE(is_own_host(foreign));
  }
}

TEST_CASE("a name that DNS was made to point here is refused") {
  Shared shared;
  const auto server = make_server(shared);
  for (const char* host : {"127.0.0.1", "127.0.0.1:7400", "localhost", "LOCALHOST:1", "localhost.", "[::1]:80", "h", "H:99"}) {
    INFO(host);
    CHECK(status_of(ask(*server, "GET /hello", fmt::format("Host: {}\r\n", host))) == "200");
  }
  for (const char* host : {"evil.example", "evil.example:7400", "127.0.0.1.evil.example", "192.0.2.1", "h.evil.example", "x@localhost", "0.0.0.0", ""}) {
    INFO(host);
    const std::string header = fmt::format("Host: {}\r\n", host);
    const std::string answer = ask(*server, "GET /hello", header);
    CHECK(status_of(answer) == "421");
    CHECK(answer.find("application/problem+json") != std::string::npos);
    CHECK(answer.find("--allowed-host") != std::string::npos);
    for (const char* start : {"GET /stream?bytes=10", "GET /nothing", "OPTIONS /hello", "DELETE /gone", "HEAD /hello"})
      CHECK(status_of(ask(*server, start, header)) == "421");
    CHECK(status_of(ask(*server, "POST /upload", header + "Content-Type: application/zstd\r\n", "x")) == "421");
    CHECK(status_of(ask(*server, "GET /healthz", header)) == "200");
  }
  // The absolute form has a host of its own.
  CHECK(status_of(ask(*server, "GET http://evil.example/hello", "Host: h\r\n")) == "421");
  CHECK(status_of(ask(*server, "GET http://h/hello", "Host: evil.example\r\n")) == "421");
  CHECK(status_of(ask(*server, "GET http://h:80/hello", "Host: h\r\n")) == "200");
}

TEST_CASE("pages of other origins are refused, before the token is looked at") {
  Shared shared;
  ServerOptions options;
  options.token = "a-token-of-some-length";
  const auto server = make_server(shared, options);
  const std::string host = "Host: h:7400\r\nAuthorization: Bearer a-token-of-some-length\r\n";
  for (const char* header : {"Origin: http://evil.example", "Origin: null", "Origin: https://h:7400", "Origin: http://h", "Origin: ",
                             "Origin: http://h:7400, http://evil.example", "Sec-Fetch-Site: cross-site",
                             "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: CROSS-SITE"}) {
    INFO(header);
    for (const char* start : {"GET /hello", "DELETE /gone", "OPTIONS /document", "GET /stream?bytes=5"})
      CHECK(status_of(ask(*server, start, host + header + "\r\n")) == "403");
    CHECK(status_of(ask(*server, "POST /document", host + header + "\r\nContent-Type: application/json\r\n", "{}")) == "403");
    CHECK(status_of(ask(*server, "POST /document", "Host: h:7400\r\n" + std::string(header) + "\r\n", "{}")) == "403");
  }
  for (const char* header : {"Origin: http://h:7400", "Origin: HTTP://H:7400", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"}) {
    INFO(header);
    CHECK(status_of(ask(*server, "GET /hello", host + header + "\r\n")) == "200");
  }
  const std::string answer = ask(*server, "GET /hello", host);
  CHECK(answer.find("Access-Control") == std::string::npos);
}

TEST_CASE("bodies have to say that they are JSON, and be of a decent size") {
  Shared shared;
  const auto server = make_server(shared);
  for (const char* path : {"/document", "/order"}) {
    const std::string start = fmt::format("POST {}", path);
    for (const char* type : {"application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"})
      CHECK(status_of(ask(*server, start, fmt::format("Host: h\r\nContent-Type: {}\r\n", type), "{}")) == "200");
    for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "application/jsonp",
                             "text/plain; application/json", "application/json, text/plain"}) {
      INFO(type);
      const std::string answer = ask(*server, start, fmt::format("Host: h\r\nContent-Type: {}\r\n", type), "{}");
      CHECK(status_of(answer) == "415");
      CHECK(answer.find("application/json") != std::string::npos);
    }
    CHECK(status_of(ask(*server, start, "Host: h\r\n", "{}")) == "415");
    CHECK(status_of(ask(*server, start, "Host: h\r\n")) == "200");  // nothing is of no type
    CHECK(status_of(ask(*server, start, "Host: h\r\nContent-Type: application/json\r\n", std::string(1001, ' '))) == "413");
  }
  const auto chunked = [&](const char* path) {
    RawClient client(server->port());
    client.send(fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", path) +
                std::string(1001, ' ') + "\r\n0\r\n\r\n");
    return client.read_response();
  };
  CHECK(status_of(chunked("/document")) == "413");
}

TEST_CASE("every answer tells browsers to keep their hands off") {
  Shared shared;
  const auto server = make_server(shared);
  for (const char* start : {"GET /hello", "GET /nothing", "DELETE /gone", "GET /stream?bytes=3&sized", "HEAD /hello", "GET /healthz"}) {
    INFO(start);
    const std::string answer = ask(*server, start, "Host: h\r\n");
    for (const char* header : {"X-Content-Type-Options: nosniff\r\n", "Cache-Control: no-store\r\n", "frame-ancestors 'none'",
                               "Cross-Origin-Resource-Policy: same-origin\r\n", "X-Frame-Options: DENY\r\n"})
      CHECK(answer.find(header) != std::string::npos);
  }
  CHECK(ask(*server, "GET /hello", "Host: evil.example\r\n").find("nosniff") != std::string::npos);
}

TEST_CASE("a name in the TLS certificate is the daemon's own") {
  const lookback::test::TemporaryDirectory directory;
  const auto certificate = directory / "cert.pem", key = directory / "key.pem";
  make_certificate(certificate, key, "DNS:hub.example,DNS:*.lab.example,IP:127.0.0.1");
  Shared shared;
  ServerOptions options;
  options.tls = TlsFiles{certificate, key};
  const auto server = make_server(shared, options);
  const auto status = [&](const char* host) {
    return run(fmt::format("curl -sS -o /dev/null -w '%{{http_code}}' --cacert {} -H 'Host: {}' https://127.0.0.1:{}/hello",
                           certificate.string(), host, server->port()));
  };
  CHECK(status("hub.example") == "200");
  CHECK(status("n1.lab.example:7400") == "200");
  CHECK(status("evil.example") == "421");
  CHECK(status("a.b.lab.example") == "421");
}

TEST_CASE("an allowed host is a name") {
  for (const char* name : {"http://h", "a b", ""}) {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.allowed_hosts = {name};
    CHECK(Server::create(options).error().kind == ErrorKind::invalid);
  }
}
