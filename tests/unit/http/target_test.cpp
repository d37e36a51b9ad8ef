#include "http/target.hpp"

#include <catch2/catch.hpp>

#include "lookback/http/client.hpp"
#include "lookback/http/range.hpp"

using namespace lookback;
using namespace lookback::http;

TEST_CASE("a request target is cut into decoded segments and a query") {
  const auto target = parse_target(
      "/api/v1/snapshots/a%2Fb%20c/pcap?ip=10.0.0.0%2F8&ip=::1&filter=tcp+port%2080&dedup");
  REQUIRE(target);
  CHECK(target->path == "/api/v1/snapshots/a/b c/pcap");
  CHECK(target->segments == std::vector<std::string>{"api", "v1", "snapshots", "a/b c", "pcap"});
  CHECK(target->query.count("ip") == 2);
  CHECK(target->query.find("filter")->second == "tcp port 80");
  CHECK(target->query.find("dedup")->second.empty());
  CHECK(parse_target("http://hub:7400/x?y=1")->path == "/x");
  CHECK(parse_target("http://hub:7400")->path == "/");
  CHECK(parse_target("https://hub?q=2")->query.find("q")->second == "2");
  CHECK(parse_target("*")->path == "*");
}

TEST_CASE("a broken request target is refused") {
  for (const char* text :
       {"", "x", "hub:80", "/%", "/%4", "/%zz", "/%00", "/a%0d%0ab", "/%ff", "/%c0%af",
        "/%ed%a0%80", "/x?a=%", "/x?%80=1", "/%f5%80%80%80", "/%e2%82"}) {
    INFO(text);
    const auto target = parse_target(text);
    if (std::string_view(text).empty()) {
      CHECK(target->path == "/");
      continue;
    }
    REQUIRE_FALSE(target);
    CHECK(target.error().kind == ErrorKind::invalid);
  }
  CHECK(parse_target("/%e2%82%ac")->path == "/\xe2\x82\xac");
  CHECK(parse_target("/%f0%9f%94%a5"));
}

TEST_CASE("routes match by segments") {
  const RoutePattern route("/api/v1/nodes/{name}/heartbeat");
  const auto match = route.match(*parse_target("/api/v1/nodes/web%2d1/heartbeat"));
  REQUIRE(match);
  CHECK(match->at("name") == "web-1");
  CHECK_FALSE(route.match(*parse_target("/api/v1/nodes//heartbeat")));
  CHECK_FALSE(route.match(*parse_target("/api/v1/nodes/a/heartbeat/")));
  CHECK_FALSE(route.match(*parse_target("/api/v1/nodes/a")));
  CHECK(route.match(*parse_target("/api/v1/nodes/a%2Fb/heartbeat"))->at("name") == "a/b");
}

TEST_CASE("a pattern with a rest takes all that follows") {
  const RoutePattern files("/files/{path...}");
  CHECK(files.takes_rest());
  CHECK_FALSE(RoutePattern("/files/{path}").takes_rest());
  const auto path_of = [&](std::string_view target) -> std::string {
    const auto match = files.match(*parse_target(target));
    return match ? match->at("path") : "no match";
  };
  CHECK(path_of("/files/a") == "a");
  CHECK(path_of("/files/a/b%20c/d.js?x=1") == "a/b c/d.js");
  CHECK(path_of("/files/") == "");
  CHECK(path_of("/files") == "no match");
  CHECK(path_of("/file/a") == "no match");
  CHECK(RoutePattern("/{path...}").match(*parse_target("/"))->at("path") == "");
}

TEST_CASE("url_encode and percent_decode are inverse") {
  std::string all;
  for (int c = 0x20; c < 0x7f; ++c) all += static_cast<char>(c);
  all += "\xc3\xa4";
  CHECK(*percent_decode(url_encode(all), false) == all);
  CHECK(*percent_decode(url_encode(all), true) == all);
  CHECK(url_encode("a b/c") == "a%20b%2Fc");
}

TEST_CASE("byte ranges follow RFC 9110") {
  const auto range = [](std::string_view header, uint64_t total) {
    return parse_range(header, total);
  };
  const auto is = [&](std::string_view header, uint64_t total, uint64_t first, uint64_t last) {
    const auto parsed = range(header, total);
    return parsed && *parsed && (*parsed)->first == first && (*parsed)->last == last;
  };
  CHECK(is("bytes=0-0", 10, 0, 0));
  CHECK(is("bytes=2-5", 10, 2, 5));
  CHECK(is(" bytes= 2- ", 10, 2, 9));
  CHECK(is("bytes=2-99", 10, 2, 9));
  CHECK(is("bytes=2-99999999999999999999999", 10, 2, 9));
  CHECK(is("bytes=-3", 10, 7, 9));
  CHECK(is("bytes=-30", 10, 0, 9));
  for (const char* ignored : {"", "items=1-2", "bytes=", "bytes=a-b", "bytes=1", "bytes=5-2",
                              "bytes=0-1,3-4", "bytes=--1", "bytes=1-2-3", "bytes=+1-2"}) {
    INFO(ignored);
    const auto parsed = range(ignored, 10);
    REQUIRE(parsed);
    CHECK_FALSE(parsed->has_value());
  }
  for (const char* outside :
       {"bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"}) {
    INFO(outside);
    CHECK_FALSE(range(outside, 10));
  }
  CHECK_FALSE(range("bytes=0-", 0));
  CHECK_FALSE(range("bytes=-5", 0));
}
