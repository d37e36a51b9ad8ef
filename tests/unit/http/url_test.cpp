#include <catch2/catch.hpp>

#include "lookback/http/status.hpp"
#include "lookback/http/url.hpp"

using namespace lookback;
using namespace lookback::http;

TEST_CASE("a daemon's URL is taken apart") {
  struct Row {
    const char *text, *host;
    uint16_t port;
    const char *path, *base;
  };
  const Row rows[] = {
      {"http://127.0.0.1:7400", "127.0.0.1", 7400, "", "http://127.0.0.1:7400"},
      {"https://hub.example", "hub.example", 443, "", "https://hub.example:443"},
      {"HTTP://Hub/", "hub", 80, "", "http://hub:80"},
      {"http://[FD00::1]:7400/under/this/", "fd00::1", 7400, "/under/this", "http://[fd00::1]:7400/under/this"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto url = parse_url(row.text, "hub");
    REQUIRE(url);
    CHECK(url->host == row.host);
    CHECK(url->port == row.port);
    CHECK(url->path == row.path);
    CHECK(url->base() == row.base);
  }
}

TEST_CASE("what is not the URL of a daemon is refused") {
  for (const char* wrong : {"", "hub", "hub:7400", "http://", "ftp://hub", "file:///etc/passwd", "http://a:0", "http://a:x", "http://a:70000", "http://[::1",
                            "http://user@hub", "http://user:secret@hub", "http://hub/?x=1", "http://hub/#x", "http://a b", "http://hub\n/"}) {
    INFO(wrong);
    const auto url = parse_url(wrong, "hub");
    REQUIRE_FALSE(url);
    CHECK(url.error().kind == ErrorKind::invalid);
    CHECK(url.error().message.find("http://127.0.0.1:7400") != std::string::npos);
  }
}

TEST_CASE("statuses and kinds of errors go both ways") {
  for (const ErrorKind kind : {ErrorKind::failed, ErrorKind::invalid, ErrorKind::not_found, ErrorKind::conflict, ErrorKind::corrupt,
                               ErrorKind::no_space, ErrorKind::unavailable, ErrorKind::unauthorized})
    CHECK(kind_of_status(status_of(kind)) == kind);
  // Whoever answers can be reached.
  CHECK(status_of(ErrorKind::unreachable) == 502);
  for (int status = 400; status < 600; ++status) CHECK(kind_of_status(status) != ErrorKind::unreachable);
  CHECK(kind_of_status(502) == ErrorKind::unavailable);
  CHECK(kind_of_status(418) == ErrorKind::failed);
  CHECK(reason_phrase(404) == "Not Found");
  CHECK(reason_phrase(599) == "Status");
}
