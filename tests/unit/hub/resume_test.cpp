// A hub that is stopped or killed in the middle of a transfer goes on where it was.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "lookback/archive/reader.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/time.hpp"
#include "support/hub_fixture.hpp"

using namespace lookback;
using namespace lookback::hub::test;

namespace {

void fill(FakeNode& node, size_t members) {
  const int64_t now = Clock::system().realtime_ns();
  for (size_t i = 0; i < members; ++i)
    node.add_member(
        make_member(node.name(), now - 30 * kNsPerSecond + static_cast<int64_t>(i), 200, 800));
}

/// A hub in a process of its own, which can be killed.
class HubProcess {
 public:
  explicit HubProcess(const std::filesystem::path& directory) {
    int pipes[2];
    REQUIRE(::pipe(pipes) == 0);
    // This process has no other threads yet: the nodes are started behind this.
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(pipes[0]);
      hub::HubOptions options;
      options.data_dir = directory;
      options.listen = "127.0.0.1:0";
      auto daemon = hub::HubDaemon::start(options);
      const uint16_t port = daemon ? (*daemon)->port() : 0;
      if (::write(pipes[1], &port, sizeof port) != sizeof port) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(pipes[1]);
    REQUIRE(::read(pipes[0], &port_, sizeof port_) == sizeof port_);
    ::close(pipes[0]);
    REQUIRE(port_ != 0);
  }
  ~HubProcess() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  pid_t pid_ = 0;
  uint16_t port_ = 0;
};

/// The members that a journal names, by node.
std::map<std::string, std::set<uint32_t>> journaled_members(const std::filesystem::path& journal) {
  std::map<std::string, std::set<uint32_t>> members;
  const auto text = read_file(journal);
  for (size_t at = 0, end; text && (end = text->find('\n', at)) != std::string::npos;
       at = end + 1) {
    const auto line = parse_json(std::string_view(*text).substr(at, end - at), "line");
    REQUIRE(line);
    if (line->contains("node")) members[line->at("node")].insert(line->at("index").get<uint32_t>());
  }
  return members;
}

size_t count_journaled(const std::filesystem::path& journal) {
  size_t count = 0;
  for (const auto& [node, members] : journaled_members(journal)) count += members.size();
  return count;
}

/// Orders snapshot x of `node` and stops the hub when some of it is stored.
void stop_in_the_middle(HubFixture& hub, FakeNode& node) {
  const auto journal = hub.directory() / "jobs" / "x" / "journal.ndjson";
  {
    auto client = hub.client();
    client.beat(node);
    REQUIRE(client.create("x").status == 202);
    REQUIRE(eventually([&] { return count_journaled(journal) > 5; }));
  }
  hub.stop();
}

/// What a node may have sent to its end while the hub had not stored it yet.
constexpr size_t kInFlight = 4;

}  // namespace

TEST_CASE(
    "a killed hub fetches no stored member twice, and its archive is byte for byte valid") {
  const TemporaryDirectory directory;
  const auto job = directory.path() / "jobs" / "x";
  HubProcess process(directory.path());
  FakeNode a("web-1"), b("web-2");
  fill(a, 40);
  fill(b, 40);
  a.delay_ms = b.delay_ms = 30;
  a.start();
  b.start();
  {
    HubClient client(process.port());
    client.beat(a);
    client.beat(b);
    REQUIRE(client.create("x").status == 202);
    REQUIRE(eventually([&] { return count_journaled(job / "journal.ndjson") > 20; }));
  }
  process.kill();
  auto journaled = journaled_members(job / "journal.ndjson");
  REQUIRE(journaled["web-1"].size() + journaled["web-2"].size() < 80);
  for (const FakeNode* node : {&a, &b}) {
    // Nothing waits for a later write: what came whole is stored, but for what was in the hub's hands.
    size_t lost = 0;
    for (const auto& [index, count] : node->whole())
      lost += journaled[node->name()].contains(index) ? 0 : 1;
    CHECK(lost <= kInFlight);
  }
  const auto before_a = a.gets(), before_b = b.gets();

  hub::HubOptions options;
  options.data_dir = directory.path();
  HubFixture hub(options);
  auto client = hub.client();
  const Json done = client.wait("x");
  INFO(done.dump(2));
  CHECK(done.at("state") == "completed");
  CHECK(done.at("complete") == true);
  CHECK(done.at("packets") == 80 * 200);
  REQUIRE(archive::verify_archive(hub.archive("x")));
  for (const auto& [index, count] : a.gets()) {
    INFO("web-1 member " << index);
    if (journaled["web-1"].contains(index)) CHECK(count == before_a.at(index));
    CHECK(count <= 2);
  }
  for (const auto& [index, count] : b.gets()) {
    INFO("web-2 member " << index);
    if (journaled["web-2"].contains(index)) CHECK(count == before_b.at(index));
  }
  CHECK(eventually([&] { return a.freezes() == 0 && !std::filesystem::exists(job); }));
}

TEST_CASE("a stopped hub goes on without fetching anything twice") {
  HubFixture hub;
  FakeNode a("web-1");
  fill(a, 30);
  a.delay_ms = 20;
  a.start();
  stop_in_the_middle(hub, a);
  CHECK(a.freezes() == 1);  // kept for later
  hub.start();
  auto client = hub.client();
  const Json done = client.wait("x");
  CHECK(done.at("complete") == true);
  REQUIRE(archive::verify_archive(hub.archive("x")));
  size_t gets = 0;
  for (const auto& [index, count] : a.gets()) gets += static_cast<size_t>(count);
  CHECK(gets <= 30 + kInFlight);  // what was on its way when the hub stopped
  CHECK(client.get("/api/v1/nodes").json.at("nodes").size() == 1);  // remembered
}

TEST_CASE("a partial archive that is not what the journal says is started afresh") {
  HubFixture hub;
  FakeNode a("web-1");
  fill(a, 20);
  a.delay_ms = 20;
  a.start();
  stop_in_the_middle(hub, a);
  const auto partial = hub.directory() / "jobs" / "x" / "archive.partial";
  SECTION("cut off") {
    std::filesystem::resize_file(partial, 1000);
  }
  SECTION("gone") {
    std::filesystem::remove(partial);
  }
  SECTION("journal cut in a line") {
    const auto journal = hub.directory() / "jobs" / "x" / "journal.ndjson";
    std::filesystem::resize_file(journal, std::filesystem::file_size(journal) - 7);
  }
  SECTION("journal damaged") {
    std::fstream file(hub.directory() / "jobs" / "x" / "journal.ndjson",
                      std::ios::in | std::ios::out);
    file.seekp(10);
    file << "\x01\x02";
  }
  SECTION("the end went down with the machine, the journal did not") {
    const auto journal = hub.directory() / "jobs" / "x" / "journal.ndjson";
    const std::string text = *read_file(journal);
    std::string volatile_lines;
    Json last;
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::string line = text.substr(at, end + 1 - at);
      if (line.starts_with("{\"durable\"")) continue;
      volatile_lines += line;
      last = parse_json(line, "line").value();
    }
    std::ofstream(journal, std::ios::trunc) << volatile_lines;
    // Its frame headers are as they were: only the hash of the content tells.
    std::fstream file(partial, std::ios::in | std::ios::out | std::ios::binary);
    const auto& member = last.at("member");
    file.seekp(member.at("archive_offset").get<std::streamoff>() +
               member.at("frames")[0][0].get<std::streamoff>() / 2);
    file << std::string(64, '\0');
  }
  SECTION("journal gone") {
    std::filesystem::remove(hub.directory() / "jobs" / "x" / "journal.ndjson");
  }
  hub.start();
  auto client = hub.client();
  const Json done = client.wait("x");
  INFO(done.dump(2));
  CHECK(done.at("complete") == true);
  CHECK(done.at("packets") == 20 * 200);
  REQUIRE(archive::verify_archive(hub.archive("x")));
}

TEST_CASE("what a hub left behind a publication, or before a snapshot began, is cleaned up") {
  HubFixture hub;
  FakeNode a("web-1");
  fill(a, 3);
  a.start();
  std::string id;
  {
    auto client = hub.client();
    client.beat(a);
    id = client.create("x").json.at("id");
    client.wait("x");
  }
  hub.stop();
  const auto jobs = hub.directory() / "jobs";
  // Killed between the rename and the clean-up, and killed while freezing.
  const auto record = [&](const std::string& name, const std::string& state,
                          const std::string& with_id) {
    std::filesystem::create_directories(jobs / name);
    std::ofstream(jobs / name / "job.json") << Json{
        {"version", 1},
        {"name", name},
        {"id", with_id},
        {"state", state},
        {"reason", ""},
        {"from", "2026-01-01T00:00:00Z"},
        {"to", "2026-01-01T00:00:01Z"},
        {"created", "2026-01-01T00:00:02Z"},
        {"finished", nullptr},
        {"deadline_ns", 1000000000},
        {"networks", Json::array()},
        {"tags", Json::object()},
        {"nodes", Json::array()}}.dump();
  };
  record("x", "in_progress", id);
  record("half", "pending", "0123");
  record("stolen", "in_progress", "4567");
  std::filesystem::copy_file(hub.archive("x"), hub.archive("stolen"));
  std::filesystem::create_directories(jobs / "empty");
  std::filesystem::create_directories(jobs / ".import-0011");
  std::filesystem::create_directories(jobs / "damaged");
  std::ofstream(jobs / "damaged" / "job.json") << "{";
  hub.start();
  auto client = hub.client();
  CHECK(eventually([&] {
    return !std::filesystem::exists(jobs / "x") && !std::filesystem::exists(jobs / "half");
  }));
  CHECK_FALSE(std::filesystem::exists(jobs / "empty"));
  CHECK_FALSE(std::filesystem::exists(jobs / ".import-0011"));
  CHECK(client.get("/api/v1/snapshots/x").json.at("state") == "completed");
  CHECK(client.get("/api/v1/snapshots/half").status == 404);
  CHECK(client.get("/api/v1/snapshots/damaged").json.at("state") == "failed");
  CHECK(client.call("DELETE", "/api/v1/snapshots/damaged").status == 204);
  CHECK_FALSE(std::filesystem::exists(jobs / "damaged"));
  CHECK(client.get("/api/v1/snapshots/stolen").json.at("state") == "failed");
}

TEST_CASE("only one hub works in a directory") {
  HubFixture hub;
  hub::HubOptions options;
  options.data_dir = hub.directory();
  options.listen = "127.0.0.1:0";
  const auto second = hub::HubDaemon::start(options);
  REQUIRE_FALSE(second);
  CHECK(second.error().kind == ErrorKind::conflict);
}
