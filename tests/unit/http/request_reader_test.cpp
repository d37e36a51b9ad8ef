#include "http/request_reader.hpp"

#include <catch2/catch.hpp>

using namespace lookback::http;
using Outcome = RequestReader::Outcome;

namespace {

struct Outcomes {
  Outcome last = Outcome::need_more;
  int status = 0;
  std::string body, rest;
};

/// Feeds `text` in pieces of `step` bytes with an output of `room` bytes.
Outcomes feed(RequestReader& reader, const std::string& text, size_t step, size_t room) {
  Outcomes result;
  std::string pending;
  size_t offered = 0;
  bool in_body = false;
  while (true) {
    const auto taken = in_body ? [&] {
      std::string out(room, '\0');
      const auto s = reader.read_body(pending, out);
      result.body += out.substr(0, s.produced);
      return s;
    }() : reader.read_head(pending);
    pending.erase(0, taken.consumed);
    result.last = taken.outcome;
    if (taken.outcome == Outcome::refused) {
      result.status = reader.refusal().status;
      return result;
    }
    if (taken.outcome == Outcome::head_done) {
      if (!reader.head().has_body) break;
      in_body = true;
      continue;
    }
    if (taken.outcome == Outcome::body_done) break;
    if (taken.outcome == Outcome::output_full) continue;
    if (offered == text.size()) return result;
    const size_t n = std::min(step, text.size() - offered);
    pending += text.substr(offered, n);
    offered += n;
  }
  result.rest = pending + text.substr(offered);
  return result;
}

int status_of(const std::string& text) {
  RequestReader reader;
  return feed(reader, text, text.size(), 4096).status;
}

}  // namespace

TEST_CASE("requests are read whatever the pieces they come in") {
  const std::string sized =
      "\r\nPOST /a?b=c HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: "
      "10\r\n\r\n0123456789";
  const std::string chunked =
      "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n4\r\n0123\r\n6;ext=1\r\n456789\r\n0\r\nTrailer: x\r\n\r\n";
  for (const size_t step : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{4096}}) {
    for (const size_t room : {size_t{1}, size_t{3}, size_t{4096}}) {
      for (const std::string* text : {&sized, &chunked}) {
        INFO(*text << " in steps of " << step << " into " << room);
        RequestReader reader;
        const auto outcome = feed(reader, *text + "GET /next", step, room);
        REQUIRE(outcome.last == Outcome::body_done);
        CHECK(outcome.body == "0123456789");
        CHECK(outcome.rest == "GET /next");
        CHECK(reader.head().headers.count("trailer") == 0);
        if (text == &sized) CHECK(reader.head().headers.at("x-a") == "1, 2");
      }
    }
  }
}

TEST_CASE("an empty chunked body may come byte by byte") {
  const std::string text =
      "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  for (const size_t step : {size_t{1}, size_t{2}, size_t{3}, size_t{100}}) {
    RequestReader reader;
    const auto outcome = feed(reader, text, step, 64);
    CHECK(outcome.last == Outcome::body_done);
    CHECK(outcome.body.empty());
  }
}

TEST_CASE("every cut of a request asks for more and nothing else") {
  const std::string text =
      "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n0\r\n\r\n";
  for (size_t n = 0; n < text.size(); ++n) {
    RequestReader reader;
    CHECK(feed(reader, text.substr(0, n), 5, 64).last == Outcome::need_more);
  }
}

TEST_CASE("what RFC 9112 forbids is refused") {
  const std::string host = "Host: h\r\n";
  CHECK(status_of("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\n" + host + host + "\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.0\r\n\r\n") == 0);
  CHECK(status_of("GET / HTTP/2.0\r\n" + host + "\r\n") == 505);
  CHECK(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505);
  CHECK(status_of("GET /\r\n\r\n") >= 400);
  CHECK(status_of("GET / HTTP/1.1\n" + host + "\r\n") >= 400);
  CHECK(status_of("GET  / HTTP/1.1\r\n" + host + "\r\n") == 400);
  CHECK(status_of("CONNECT h:1 HTTP/1.1\r\n" + host + "\r\n") == 501);
  CHECK(status_of("GET / HTTP/1.1\r\nHost : h\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\n" + host + "A: \x01\r\n\r\n") == 400);
  // two lengths, or a length and chunks: the ground of request smuggling
  CHECK(status_of("POST / HTTP/1.1\r\n" + host +
                  "Content-Length: 1\r\nContent-Length: 2\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host +
                  "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host +
                  "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n") ==
        501);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, gzip\r\n\r\n") ==
        501);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n") == 501);
  CHECK(status_of("POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n") ==
        400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n") ==
        400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host +
                  "Transfer-Encoding: chunked\r\n\r\n1\r\nabcdef\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\n" + host + "Expect: tea\r\n\r\n") == 417);
  CHECK(status_of(std::string(100, '\0') + "\r\n\r\n") == 400);
  CHECK(status_of("\r\n\r\n\r\n\r\n\r\n\r\n") == 400);
}

TEST_CASE("limits hold however slowly the bytes come") {
  for (const size_t step : {size_t{1}, size_t{100}, size_t{4096}, size_t{1} << 20}) {
    INFO(step);
    {
      RequestReader reader;
      CHECK(
          feed(reader, "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", step, 64)
              .status == 414);
    }
    {
      RequestReader reader;
      CHECK(feed(reader, "GET /" + std::string(200'000, 'a'), step, 64).status == 414);
    }
    {
      RequestReader reader;
      CHECK(feed(reader, "GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(70'000, 'a') + "\r\n\r\n",
                 step, 64)
                .status == 431);
    }
    {
      std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
      for (int i = 0; i < 20'000; ++i) many += "A: b\r\n";
      RequestReader reader;
      CHECK(feed(reader, many, step, 64).status == 431);
    }
    {
      RequestReader reader;
      CHECK(feed(reader,
                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                     std::string(100'000, 'x'),
                 step, 64)
                .status == 400);
    }
  }
}

TEST_CASE("keep-alive follows version and Connection") {
  const auto keeps = [](const std::string& text) {
    RequestReader reader;
    REQUIRE(reader.read_head(text).outcome == Outcome::head_done);
    return reader.head().keep_alive;
  };
  CHECK(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  CHECK_FALSE(keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
  CHECK_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  CHECK(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}
