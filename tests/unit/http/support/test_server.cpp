#include "test_server.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::http::test {

namespace {

/// What a test puts into Shared::feed_text, to each reader.
class SharedFeed : public Feed {
 public:
  explicit SharedFeed(Shared& shared) : shared_(shared) { ++shared_.streams; }
  ~SharedFeed() override {
    on_more({});
    --shared_.streams;
  }
  std::optional<std::string> take() override {
    const std::lock_guard lock(shared_.mutex);
    std::string text = std::exchange(first_, {}) + shared_.feed_text.substr(taken_);
    taken_ = shared_.feed_text.size();
    if (text.empty() && shared_.open_gate) return std::nullopt;
    return text;
  }
  std::string keep_alive() const override { return "still here\n"; }
  void on_more(std::function<void()> wake) override {
    const std::lock_guard lock(shared_.mutex);
    shared_.wakes.erase(this);
    if (wake) shared_.wakes.emplace(this, std::move(wake));
  }

 private:
  Shared& shared_;
  std::string first_ = "open\n";
  size_t taken_ = 0;
};

}  // namespace

void Shared::feed(const std::string& text) {
  const std::lock_guard lock(mutex);
  feed_text += text;
  for (const auto& [feed, wake] : wakes) wake();
}

void Shared::open() {
  const std::lock_guard lock(mutex);
  open_gate = true;
  changed.notify_all();
  for (const auto& [feed, wake] : wakes) wake();
}

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
  const BodyRule any_type{.body_types = {}};
  auto created = Server::create(std::move(options));
  REQUIRE(created);
  auto server = std::move(*created);
  server->add({"GET", "/hello"}, [](Request&) { return Response::text("hello\n"); });
  server->add({"GET", "/healthz", Role::anyone}, [](Request&) { return Response::text("ok\n"); });
  server->add({.method = "POST", .pattern = "/echo/{name}", .body = any_type}, [](Request& request) {
    Response response = Response::text(request.parameters.at("name") + ":" +
                                       request.query_value("q").value_or("-") + ":" + request.body);
    response.headers["X-Peer"] = request.peer_address;
    return response;
  });
  server->add({.method = "POST", .pattern = "/document", .body = {.max_body_bytes = 1000}},
              [](Request& request) { return Response::text(request.body); });
  server->add({.method = "POST", .pattern = "/order", .runs_on = RunsOn::order, .body = {.max_body_bytes = 1000}},
              [](Request&) { return Response::text("ordered\n"); });
  server->add({"GET", "/header"}, [](Request& request) { return Response::text(request.header("x-wanted")); });
  server->add({"GET", "/whoami"}, [](Request& request) {
    return Response::text(fmt::format("{} {}", request.principal.name, to_string(request.principal.role)));
  });
  server->add({"POST", "/nodes/{name}/report", Role::node}, [](Request& request) { return Response::text(request.principal.name); });
  server->add({"DELETE", "/everything", Role::admin}, [](Request&) { return Response::text("deleted\n"); });
  server->add({"GET", "/files/{path...}"}, [](Request& request) {
    Response response = Response::text(request.parameters.at("path"));
    response.headers["Content-Security-Policy"] = "default-src 'self'";
    response.headers["Cache-Control"] = "public, max-age=60";
    return response;
  });
  server->add({"GET", "/files/index"}, [](Request&) { return Response::text("the index\n"); });
  server->add({"GET", "/feed"}, [&shared](Request&) {
    Response response;
    response.content_type = "text/event-stream";
    response.feed = std::make_shared<SharedFeed>(shared);
    return response;
  });
  server->add({"DELETE", "/gone"}, [](Request&) {
    Response response;
    response.status = 204;
    return response;
  });
  server->add({"GET", "/throws"}, [](Request&) -> Response { throw std::runtime_error("no"); });
  server->add({"GET", "/split"}, [](Request&) {
    Response response = Response::text("x");
    response.headers["X-Name"] = "a\r\nX-Injected: b";
    return response;
  });
  server->add({"GET", "/stream"}, [&shared](Request& request) {
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
  server->add({"GET", "/gate"}, [&shared](Request&) {
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
  server->add({.method = "POST", .pattern = "/upload", .runs_on = RunsOn::transfer, .body = any_type}, [&shared](Request& request) {
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
  });
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
