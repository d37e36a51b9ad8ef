// What the API does with finished archives, and about itself.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <future>

#include "lookback/archive/verify.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/time.hpp"
#include "lookback/packet/pcapng.hpp"
#include "support/hub_fixture.hpp"
#include "unit/support/files.hpp"

using namespace lookback;
using namespace lookback::hub::test;

namespace {

struct Published {
  HubFixture hub;
  HubClient client;
  FakeNode node{"web-1"};
  int64_t first_ns = Clock::system().realtime_ns() - 30 * kNsPerSecond;

  explicit Published(hub::HubOptions options = {}) : hub(std::move(options)), client(hub.client()) {
    for (int64_t i = 0; i < 5; ++i)
      node.add_member(make_member("web-1", first_ns + i * kNsPerSecond, 500));
    node.start();
    client.beat(node);
    REQUIRE(client.create("x").status == 202);
    REQUIRE(client.wait("x").at("complete") == true);
  }

  size_t packets(const std::string& query, int expected_status = 200) {
    const auto response = client.http().request("GET", "/api/v1/snapshots/x/pcap" + query);
    REQUIRE(response);
    INFO(response->body.substr(0, 300));
    CHECK(response->status == expected_status);
    if (response->status != 200) return 0;
    CHECK(response->headers.at("x-lookback-complete") == "true");
    size_t at = 0, count = 0;
    auto reader = packet::CaptureReader::open([&](std::span<std::byte> out) -> Result<size_t> {
      const size_t n = std::min(out.size(), response->body.size() - at);
      std::memcpy(out.data(), response->body.data() + at, n);
      at += n;
      return n;
    });
    REQUIRE(reader);
    for (;;) {
      const auto packet = reader->next();
      REQUIRE(packet);
      if (!*packet) return count;
      ++count;
    }
  }
};

/// A GET with headers of one's own, by curl.
std::string curl(HubFixture& hub, const std::string& arguments, const std::string& path) {
  const std::string command =
      fmt::format("curl -sS {} http://127.0.0.1:{}{}", arguments, hub.daemon().port(), path);
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  std::string out(1 << 16, '\0');
  std::string all;
  while (const size_t n = std::fread(out.data(), 1, out.size(), pipe.get())) all.append(out, 0, n);
  return all;
}

}  // namespace

TEST_CASE("an archive is downloaded whole and in parts") {
  Published p;
  const std::string file = *read_file(p.hub.archive("x"));
  const std::string path = "/api/v1/snapshots/x/archive";
  const auto whole = p.client.http().request("GET", path);
  REQUIRE(whole);
  CHECK(whole->status == 200);
  CHECK(whole->body == file);
  CHECK(whole->headers.at("accept-ranges") == "bytes");
  const std::string etag = whole->headers.at("etag");
  CHECK(etag == "\"" + p.client.get("/api/v1/snapshots/x").json.at("id").get<std::string>() + "\"");
  CHECK(p.client.http().request("HEAD", path)->headers.at("content-length") ==
        std::to_string(file.size()));
  CHECK(curl(p.hub, "-r 0-9", path) == file.substr(0, 10));
  CHECK(curl(p.hub, "-r 100-", path) == file.substr(100));
  CHECK(curl(p.hub, "-r -7", path) == file.substr(file.size() - 7));
  const std::string status = "-o /dev/null -w '%{http_code}' ";
  CHECK(curl(p.hub, status + "-r 0-9", path) == "206");
  CHECK(curl(p.hub, status + "-r 99999999-", path) == "416");
  CHECK(curl(p.hub, status + "-r 0-1,5-6", path) == "200");
  CHECK(curl(p.hub, status + "-H 'If-None-Match: " + etag + "'", path) == "304");
  CHECK(curl(p.hub, status + "-r 0-9 -H 'If-Range: " + etag + "'", path) == "206");
  CHECK(curl(p.hub, status + "-r 0-9 -H 'If-Range: \"other\"'", path) == "200");
  CHECK(p.client.get("/api/v1/snapshots/y/archive").status == 404);
}

TEST_CASE("an archive is imported after it was verified") {
  Published p;
  const std::string file = *read_file(p.hub.archive("x"));
  struct Imported {
    int status = 0;
    std::string body;
  };
  const TemporaryDirectory folder;
  const auto import = [&](const std::string& name, const std::string& content) {
    const auto sent = lookback::test::spill(folder / "sent", content);
    std::string answer = curl(p.hub, "-H 'Content-Type: application/octet-stream' -w '%{http_code}' --data-binary @" + sent.string(),
                              "/api/v1/snapshots/" + name + "/import?file=f.tar.zst");
    Imported imported{std::stoi(answer.substr(answer.size() - 3)), answer.substr(0, answer.size() - 3)};
    return std::make_optional(imported);
  };
  const auto imported = import("copy", file);
  CHECK(imported->status == 201);
  const auto object = parse_json(imported->body, "object");
  CHECK(object->at("name") == "copy");
  CHECK(object->at("state") == "completed");
  CHECK(object->at("packets") == 2500);
  CHECK(*read_file(p.hub.archive("copy")) == file);
  struct stat st {};
  REQUIRE(::stat(p.hub.archive("copy").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0400);
  CHECK(import("copy", file)->status == 409);
  CHECK(import("x", file)->status == 409);
  CHECK(import(".x", file)->status == 400);
  CHECK(import("bad", "rubbish")->status == 422);
  CHECK(import("bad", "")->status == 422);
  CHECK(import("bad", file.substr(0, file.size() - 1))->status == 422);
  for (size_t at = 10; at < file.size(); at += file.size() / 5) {
    std::string damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    CHECK(import("bad", damaged)->status == 422);
  }
  CHECK(p.client.get("/api/v1/snapshots/bad").status == 404);
  CHECK(eventually([&] { return std::filesystem::is_empty(p.hub.directory() / "jobs"); }));
}

TEST_CASE("an import beyond the quota is refused before its end") {
  hub::HubOptions options;
  options.snapshot_storage_bytes = 100 << 20;
  HubFixture hub(options);
  auto client = hub.client();
  uint64_t sent = 0;
  const auto answer = client.http().upload("POST", "/api/v1/snapshots/x/import",
                                           [&](std::span<std::byte> out) -> Result<size_t> {
                                             if (sent > (1ULL << 30)) return size_t{0};
                                             sent += out.size();
                                             return out.size();
                                           });
  REQUIRE_FALSE(answer);
  CHECK(answer.error().kind == ErrorKind::no_space);
  CHECK(sent < (300ULL << 20));
  CHECK(eventually([&] { return std::filesystem::is_empty(hub.directory() / "jobs"); }));
  CHECK(client.get("/api/v1/status").json.at("disk").at("used_bytes") == 0);
}

TEST_CASE("exports are streamed with their options") {
  Published p;
  CHECK(p.packets("") == 2500);
  CHECK(p.packets("?node=web-*&ip=10.0.0.1&ip=192.168.0.0/16&filter=udp%20port%2053&format=pcap") ==
        2500);
  CHECK(p.packets("?ip=192.168.0.1") == 0);
  CHECK(p.packets("?filter=tcp") == 0);
  const int64_t from = p.first_ns + kNsPerSecond;
  CHECK(p.packets("?from=" + format_time_ns(from) + "&to=" + format_time_ns(from + kNsPerSecond)) ==
        500);
  CHECK(p.packets("?dedup=1&align_clocks=1&interface=eth*") > 0);
  p.packets("?filter=nonsense%20(", 400);
  p.packets("?flter=tcp", 400);
  p.packets("?format=cap", 400);
  p.packets("?ip=300.1.1.1", 400);
  p.packets("?from=yesterday", 400);
  p.packets("?dedup=maybe", 400);
  p.packets("?node=db-1", 404);
  CHECK(p.client.get("/api/v1/snapshots/y/pcap").status == 404);
  // What the export came to can be asked for afterwards.
  CHECK(p.packets("?summary_id=abc&ip=10.0.0.2") == 2500);
  const Json summary = p.client.get("/api/v1/exports/abc").json;
  CHECK(summary.at("state") == "done");
  CHECK(summary.at("packets_written") == 2500);
  CHECK(summary.at("complete") == true);
  CHECK(p.client.get("/api/v1/exports/abcd").status == 404);
}

TEST_CASE("a parameter that was given is never taken for one that was not") {
  Published p;
  const std::string path = "/api/v1/snapshots/x";
  for (const char* query :
       {"from=", "to=", "node=", "interface=", "ip=", "filter=", "process=", "pid=", "pid=0",
        "container=", "format=", "snaplen=", "snaplen=-1", "snaplen=4294967296", "summary_id="}) {
    CAPTURE(query);
    CHECK(p.client.get(path + "/pcap?" + query).status == 400);
  }
  for (const char* query :
       {"from=", "to=", "node=", "interface=", "ip=", "filter=", "process=", "pid=", "pid=0",
        "container=", "sort=", "limit=", "limit=0", "limit=-1"}) {
    CAPTURE(query);
    CHECK(p.client.get(path + "/flows?" + query).status == 400);
  }
  CHECK(p.client.get(path + "/pcap?snaplen=0").status == 200);  // whole packets, as tcpdump has it
  bool sent = false;
  const auto refused = p.client.http().upload("POST", path + "/import?name=", [&](std::span<std::byte> out) -> Result<size_t> {
    if (std::exchange(sent, true)) return size_t{0};
    out[0] = std::byte{'x'};
    return size_t{1};
  });
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::invalid);
}

TEST_CASE("verification is a job, and finds damage") {
  Published p;
  const auto verify = [&] {
    const Answer started = p.client.call("POST", "/api/v1/snapshots/x/verify");
    REQUIRE(started.status == 202);
    const std::string path = "/api/v1/jobs/" + started.json.at("id").get<std::string>();
    Json job;
    REQUIRE(eventually([&] {
      job = p.client.get(path).json;
      return job.at("state") != "pending" && job.at("state") != "running";
    }));
    return job;
  };
  const Json good = verify();
  CHECK(good.at("state") == "completed");
  CHECK(good.at("kind") == "verify");
  CHECK(good.at("result").at("members") == 5);
  CHECK(good.at("progress").at("done") == good.at("progress").at("total"));
  REQUIRE(::chmod(p.hub.archive("x").c_str(), 0644) == 0);
  std::fstream file(p.hub.archive("x"), std::ios::in | std::ios::out);
  file.seekp(5000);
  file << "damage";
  file.close();
  const Json bad = verify();
  CHECK(bad.at("state") == "failed");
  CHECK(bad.at("error").at("kind") == "corrupt");
  CHECK(bad.at("error").at("message").get<std::string>().find("nodes/web-1/packets/") != std::string::npos);
  CHECK(p.client.get("/api/v1/jobs/none").status == 404);
  CHECK(p.client.call("POST", "/api/v1/jobs/none/cancel").status == 404);
  CHECK(p.client.call("POST", "/api/v1/jobs/" + bad.at("id").get<std::string>() + "/cancel").status == 409);
  const Json jobs = p.client.get("/api/v1/jobs").json.at("jobs");
  REQUIRE(jobs.size() == 2);
  CHECK(jobs.at(0) == bad);
  CHECK(jobs.at(1) == good);
  CHECK(p.client.get("/api/v1/jobs?state=failed&kind=verify&subject=x").json.at("jobs") == Json::array({bad}));
  CHECK(p.client.get("/api/v1/jobs?subject=y").json.at("jobs").empty());
  CHECK(p.client.get("/api/v1/jobs?state=done").status == 400);
  CHECK(p.client.call("POST", "/api/v1/snapshots/y/verify").status == 404);
}

TEST_CASE("archives are listed after a restart, damaged ones as failed") {
  Published p;
  const Json before = p.client.get("/api/v1/snapshots/x").json;
  p.hub.stop();
  const std::string file = *read_file(p.hub.archive("x"));
  std::ofstream(p.hub.archive("cut")) << file.substr(0, file.size() / 2);
  std::ofstream(p.hub.archive("nothing")) << "";
  std::filesystem::create_directory(p.hub.archive("folder"));
  std::ofstream(p.hub.archive("copied")) << file;
  SECTION("with the heads that were kept") {}
  SECTION("without them") {
    std::filesystem::remove_all(p.hub.directory() / "heads");
  }
  SECTION("with damaged ones") {
    std::ofstream(p.hub.directory() / "heads" / "x.json") << "{";
  }
  p.hub.start();
  auto client = p.hub.client();
  Json after = client.get("/api/v1/snapshots/x").json;
  // When it was finished is known from the file only, once the head is gone.
  Json expected = before;
  expected.erase("finished");
  after.erase("finished");
  CHECK(after == expected);
  for (const char* name : {"cut", "nothing", "folder"}) {
    INFO(name);
    const Answer damaged = client.get(std::string("/api/v1/snapshots/") + name);
    CHECK(damaged.status == 200);
    CHECK(damaged.json.at("state") == "failed");
    CHECK(damaged.json.at("reason") != "");
    CHECK(client.get(std::string("/api/v1/snapshots/") + name + "/pcap").status >= 400);
  }
  CHECK(client.get("/api/v1/snapshots/copied").json.at("name") == "copied");
  CHECK(client.get("/api/v1/snapshots").json.at("snapshots").size() == 5);
  CHECK(client.call("DELETE", "/api/v1/snapshots/cut").status == 204);
  CHECK_FALSE(std::filesystem::exists(p.hub.archive("cut")));
}

TEST_CASE("an archive that is deleted while it is read is read to its end") {
  Published p;
  const std::string file = *read_file(p.hub.archive("x"));
  std::string got;
  bool deleted = false;
  const auto response = p.client.http().download(
      "/api/v1/snapshots/x/archive", [&](std::span<const std::byte> data) -> Result<> {
        if (!deleted) {
          deleted = true;
          auto other = p.hub.client();
          CHECK(other.call("DELETE", "/api/v1/snapshots/x").status == 204);
        }
        got.append(reinterpret_cast<const char*>(data.data()), data.size());
        return {};
      });
  REQUIRE(response);
  CHECK(got == file);
}

TEST_CASE("the feed of events tells what happens to snapshots") {
  Published p;
  std::mutex mutex;
  std::string text;
  std::atomic<bool> done{false};
  const auto reader = std::async(std::launch::async, [&, listener = p.hub.client()]() mutable {
    (void)listener.http().download(
        "/api/v1/events",
        [&](std::span<const std::byte> data) -> Result<> {
          const std::lock_guard lock(mutex);
          text.append(reinterpret_cast<const char*>(data.data()), data.size());
          return {};
        },
        &done);
  });
  const auto has = [&](const std::string& what) {
    return eventually([&] {
      const std::lock_guard lock(mutex);
      return text.find(what) != std::string::npos;
    });
  };
  REQUIRE(has(": lookback hub events"));
  CHECK(p.client.call("DELETE", "/api/v1/snapshots/x").status == 204);
  CHECK(has("event: deleted\ndata: {\"name\":\"x\""));
  REQUIRE(p.client.create("y").status == 202);
  CHECK(has("\"state\":\"completed\""));
  CHECK(has("\"name\":\"y\""));
  done = true;
  reader.wait();
}

TEST_CASE("a reader of events goes on behind the last that it saw") {
  Published p;
  int marks = 0;
  // Reads until a new snapshot is told of, which marks the end.
  const auto read = [&](const std::string& last_id) {
    std::string text;
    const std::string mark = fmt::format("mark{}", ++marks);
    bool is_made = false;
    http::RequestExtras extras;
    if (!last_id.empty()) extras.headers = {{"Last-Event-ID", last_id}};
    auto listener = p.hub.client();
    (void)listener.http().download(
        "/api/v1/events",
        [&](std::span<const std::byte> data) -> Result<> {
          text.append(as_text(data));
          if (!is_made) CHECK(p.client.create(mark).status == 202);
          is_made = true;
          if (text.find("\"" + mark + "\"") != std::string::npos) return fail(ErrorKind::cancelled, "enough");
          return {};
        },
        nullptr, extras);
    return text;
  };
  const std::string first = read("");
  const auto at = first.find("\nid: ");
  REQUIRE(at != std::string::npos);
  const std::string id = first.substr(at + 5, first.find('\n', at + 1) - at - 5);
  CHECK(first.find("event: missed") == std::string::npos);
  const std::string again = read(id);
  CAPTURE(id, again);
  CHECK(again.find("event: missed") == std::string::npos);
  CHECK(again.find("mark1") != std::string::npos);  // the first event of it was read, the others follow
  CHECK(again.find("id: " + id + "\n") == std::string::npos);
  // A hub that was started again has other numbers: the reader is told, and gets what there is.
  for (const char* other : {"00000000-1", "nonsense", "-"}) {
    const std::string all = read(other);
    CHECK(all.find("event: missed\ndata: {\"events\":null}") != std::string::npos);
    CHECK(all.find("mark1") != std::string::npos);
  }
}

TEST_CASE("a hub with readers of events stops") {
  Published p;
  const auto reader = std::async(std::launch::async, [listener = p.hub.client()]() mutable {
    const auto ended = listener.http().download(
        "/api/v1/events", [](std::span<const std::byte>) -> Result<> { return {}; });
    (void)ended;
  });
  REQUIRE(eventually([&] {
    return p.client.get("/metrics").text.find("lookback_http_open_streams 1") != std::string::npos;
  }));
  p.hub.stop();
  reader.wait();
}

TEST_CASE("status, metrics and nodes say what there is") {
  Published p;
  const Json status = p.client.get("/api/v1/status").json;
  CHECK(status.at("nodes") == 1);
  CHECK(status.at("snapshots") == 1);
  CHECK(status.at("hub_id").get<std::string>().size() == 16);
  CHECK(status.at("disk").at("used_bytes") == std::filesystem::file_size(p.hub.archive("x")));
  const Answer metrics = p.client.get("/metrics");
  CHECK(metrics.headers.at("content-type").starts_with("text/plain; version=0.0.4"));
  CHECK(metrics.text.find("lookback_hub_nodes{state=\"up\"} 1\n") != std::string::npos);
  CHECK(metrics.text.find("lookback_hub_snapshots{state=\"completed\"} 1\n") != std::string::npos);
  CHECK(metrics.text.find("lookback_hub_members_stored_total 5\n") != std::string::npos);
  const Json node = p.client.get("/api/v1/nodes").json.at("nodes")[0];
  CHECK(node.at("name") == "web-1");
  CHECK(node.at("state") == "up");
  CHECK(node.at("dropped") == 4);
  CHECK(node.at("url") == p.node.url());
  const Json boundaries = p.client.get("/api/v1/boundaries").json;
  REQUIRE(boundaries.at("nodes").size() == 1);
  CHECK(boundaries.at("nodes")[0].at("name") == "web-1");
  CHECK(boundaries.at("oldest") == "2026-01-01T00:00:00.000000000Z");
  CHECK(boundaries.at("newest") == "2026-01-01T01:00:00.000000000Z");
  CHECK(boundaries.at("nodes")[0].at("oldest") == boundaries.at("oldest"));
  CHECK(p.client.call("DELETE", "/api/v1/nodes/web-1").status == 204);
  CHECK(p.client.get("/api/v1/boundaries").json.at("oldest").is_null());
  CHECK(p.client.get("/api/v1/nodes").json.at("nodes").empty());
  CHECK(p.client.get("/healthz").status == 200);
  CHECK(p.client.get("/readyz").status == 200);
  CHECK(p.client.call("POST", "/api/v1/nodes/..%2Fx/heartbeat", Json::object()).status == 400);
}

TEST_CASE("a hub with a token lets nobody in without it") {
  hub::HubOptions options;
  options.token = "s3cret";
  HubFixture hub(options);
  auto client = hub.client();
  for (const char* path :
       {"/api/v1/nodes", "/api/v1/snapshots", "/metrics", "/api/v1/events", "/nothing"})
    CHECK(client.get(path).status == 401);
  CHECK(client.get("/healthz").status == 200);
}
