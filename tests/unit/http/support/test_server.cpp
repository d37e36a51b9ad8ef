#include "test_server.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::http::test {

std::string pattern(size_t bytes) {
  std::string text(bytes, '\0');
  uint32_t x = 1;
  for (char& c : text) {
    x = x * 1664525 + 1013904223;
    c = static_cast<char>(x >> 24);
  }
  return text;
}

std::unique_ptr<Server> make_server(Shared& shared, ServerOptions options) {
  if (options.listen.empty()) options.listen = "127.0.0.1:0";
  options.allowed_hosts.emplace_back("h");  // what raw requests call it
  options.max_body_bytes = 64 << 20;
  const RouteOptions any_type{.body_types = {}};
  auto created = Server::create(std::move(options));
  REQUIRE(created);
  auto server = std::move(*created);
  server->add("GET", "/hello", [](Request&) { return Response::text("hello\n"); });
  server->add("GET", "/healthz", [](Request&) { return Response::text("ok\n"); });
  server->add("POST", "/echo/{name}", [](Request& request) {
    Response response = Response::text(request.parameters.at("name") + ":" +
                                       request.query_value("q").value_or("-") + ":" + request.body);
    response.headers["X-Peer"] = request.peer_address;
    return response;
  }, any_type);
  server->add("POST", "/document", [](Request& request) { return Response::text(request.body); },
              {.max_body_bytes = 1000});
  server->add_upload("POST", "/order", [](Request&) { return Response::text("ordered\n"); },
                     {.body_types = {"application/json"}, .max_body_bytes = 1000, .pool = StreamPool::orders});
  server->add("GET", "/feed", [&shared](Request&) {
    Response response;
    response.pool = StreamPool::feeds;
    response.stream = [&shared](const BodyWriter& write) -> Result<> {
      ++shared.streams;
      TRY(write(as_bytes(std::string_view("open\n"))));
      std::unique_lock lock(shared.mutex);
      shared.changed.wait(lock, [&] { return shared.open_gate; });
      --shared.streams;
      return {};
    };
    return response;
  });
  server->add("DELETE", "/gone", [](Request&) {
    Response response;
    response.status = 204;
    return response;
  });
  server->add("GET", "/throws", [](Request&) -> Response { throw std::runtime_error("no"); });
  server->add("GET", "/split", [](Request&) {
    Response response = Response::text("x");
    response.headers["X-Name"] = "a\r\nX-Injected: b";
    return response;
  });
  server->add("GET", "/stream", [&shared](Request& request) {
    const uint64_t bytes = std::stoull(request.query_value("bytes").value_or("1000"));
    Response response;
    response.content_type = "application/octet-stream";
    if (request.query_value("sized")) response.content_length = bytes;
    const bool fails = request.query_value("fails").has_value();
    response.stream = [&shared, bytes, fails](const BodyWriter& write) -> Result<> {
      ++shared.streams;
      const std::string block = pattern(1 << 16);
      Result<> result;
      for (uint64_t done = 0; done < bytes && result;) {
        const size_t n = std::min<uint64_t>(block.size(), bytes - done);
        result = write(as_bytes(std::string_view(block).substr(0, n)));
        done += n;
        shared.streamed += n;
        if (fails && done >= bytes / 2) result = fail(ErrorKind::corrupt, "made to fail");
      }
      --shared.streams;
      if (!result) {
        const std::lock_guard lock(shared.mutex);
        shared.stream_error = result.error();
        shared.changed.notify_all();
      }
      return result;
    };
    return response;
  });
  server->add("GET", "/gate", [&shared](Request&) {
    Response response;
    response.stream = [&shared](const BodyWriter& write) -> Result<> {
      ++shared.streams;
      TRY(write(as_bytes(std::string_view("open\n"))));
      std::unique_lock lock(shared.mutex);
      shared.changed.wait(lock, [&] { return shared.open_gate; });
      --shared.streams;
      return {};
    };
    return response;
  });
  server->add_upload("POST", "/upload", [&shared](Request& request) {
    Sha256 hash;
    uint64_t bytes = 0;
    std::vector<std::byte> buffer(100'000);
    const uint64_t stop_after = request.query_value("stop") ? 1000 : UINT64_MAX;
    while (bytes < stop_after) {
      const auto n = request.read_body(buffer);
      if (!n) {
        const std::lock_guard lock(shared.mutex);
        shared.stream_error = n.error();
        shared.changed.notify_all();
        return Response::problem(n.error());
      }
      if (*n == 0) break;
      hash.update(std::span(buffer).first(*n));
      bytes += *n;
    }
    if (stop_after < UINT64_MAX) return Response::problem({ErrorKind::conflict, "no more of this"});
    return Response::text(fmt::format("{} {}", bytes, to_hex(hash.finish())));
  }, any_type);
  REQUIRE(server->start());
  return server;
}

Client client_of(const Server& server, ClientOptions options) {
  if (options.base_url.empty())
    options.base_url = fmt::format("http://127.0.0.1:{}", server.port());
  auto client = Client::create(std::move(options));
  REQUIRE(client);
  return std::move(*client);
}

std::string run(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  REQUIRE(pipe);
  std::string out;
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe.get()))
    out.append(buffer.data(), n);
  return out;
}
}  // namespace lookback::http::test
