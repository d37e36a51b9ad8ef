#include <catch2/catch.hpp>
#include <fstream>

#include "hub/event_feed.hpp"
#include "hub/export_log.hpp"
#include "hub/journal.hpp"
#include "hub/node_client.hpp"
#include "hub/node_registry.hpp"
#include "hub/snapshot_record.hpp"
#include "lookback/base/file.hpp"
#include "support/hub_fixture.hpp"

using namespace lookback;
using namespace lookback::hub;
using namespace lookback::hub::test;

namespace {

class TestClock final : public Clock {
 public:
  int64_t realtime_ns() const override { return 1'700'000'000'000'000'000 + at; }
  int64_t monotonic_ns() const override { return 1'000'000'000 + at; }
  std::atomic<int64_t> at{0};
};

Heartbeat beat(const std::string& name, const std::string& incarnation, uint16_t port) {
  auto parsed = Heartbeat::parse(
      name, Json{{"incarnation", incarnation}, {"port", port}, {"version", "1"}}.dump(),
      "10.0.0.7", {});
  REQUIRE(parsed);
  return *parsed;
}

}  // namespace

TEST_CASE("a node goes from up to late to lost, and comes back") {
  const TemporaryDirectory directory;
  TestClock clock;
  NodeRegistry registry(directory.path() / "nodes.json", clock);
  REQUIRE(registry.take(beat("web-1", "a", 7401)));
  const auto state = [&] { return registry.find("web-1")->state; };
  CHECK(state() == NodeState::up);
  clock.at = 15 * kNsPerSecond;
  CHECK(state() == NodeState::up);
  clock.at = 16 * kNsPerSecond;
  CHECK(state() == NodeState::late);
  clock.at = 61 * kNsPerSecond;
  CHECK(state() == NodeState::lost);
  REQUIRE(registry.take(beat("web-1", "a", 7401)));
  CHECK(state() == NodeState::up);
  CHECK(registry.forget("web-1"));
  CHECK_FALSE(registry.forget("web-1"));
  CHECK(registry.nodes().empty());
}

TEST_CASE("a name belongs to the daemon that is alive") {
  const TemporaryDirectory directory;
  TestClock clock;
  NodeRegistry registry(directory.path() / "nodes.json", clock);
  REQUIRE(registry.take(beat("web-1", "a", 7401)));
  CHECK(registry.take(beat("web-1", "b", 7402)).error().kind == ErrorKind::conflict);
  CHECK(registry.find("web-1")->place.url == "http://10.0.0.7:7401");
  CHECK(registry.take(beat("web-1", "c", 7401)));  // started again in the same place
  CHECK(registry.take(beat("web-1", "a", 7402)).error().kind == ErrorKind::conflict);
  clock.at = 16 * kNsPerSecond;
  CHECK(registry.take(beat("web-1", "b", 7402)));  // the other is silent
}

TEST_CASE("nodes are remembered, and written at most every thirty seconds") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "nodes.json";
  TestClock clock;
  {
    NodeRegistry registry(file, clock);
    registry.save_if_due();
    CHECK_FALSE(std::filesystem::exists(file));
    auto one = beat("web-1", "a", 7401);
    one.clock = ClockReport{5, 7, 1'700'000'000'000'000'000};
    one.status.packets = 12;
    REQUIRE(registry.take(std::move(one)));
    registry.save_if_due();
    const auto first = *read_file(file);
    REQUIRE(registry.take(beat("web-2", "b", 7401)));
    clock.at = 29 * kNsPerSecond;
    registry.save_if_due();
    CHECK(*read_file(file) == first);
    clock.at = 31 * kNsPerSecond;
    registry.save_if_due();
    CHECK(*read_file(file) != first);
  }
  NodeRegistry again(file, clock);
  REQUIRE(again.nodes().size() == 2);
  const auto node = again.find("web-1");
  CHECK(node->place == NodePlace{"http://10.0.0.7:7401", "10.0.0.7"});
  CHECK(node->clock->offset_ns == 5);
  CHECK(node->status.packets == 12);
  CHECK(node->state == NodeState::late);
  std::ofstream(file) << "{\"nodes\":[{]";
  NodeRegistry damaged(file, clock);
  CHECK(damaged.nodes().empty());
  CHECK(std::filesystem::exists(file.string() + ".damaged"));
}

TEST_CASE("heartbeats are checked") {
  const auto parse = [](const std::string& name, const std::string& body) {
    return Heartbeat::parse(name, body, "::1", {});
  };
  CHECK(parse("web-1", R"({"port":7401})")->place == NodePlace{"http://[::1]:7401", "::1"});
  CHECK(parse("web-1", R"({"port":7401,"tls":true})")->place == NodePlace{"https://[::1]:7401", "::1"});
  for (const char* body : {"", "[]", "{}", R"({"port":70000})", R"({"port":-1})",
                           R"({"url":"ftp://x"})", R"({"port":1,"clock":{"offset_ns":1}})",
                           R"({"port":1,"clock":{"offset_ns":1,"error_ns":-1}})",
                           R"({"port":1,"status":{"packets":-1}})",
                           R"({"port":1,"status":{"rate":{"packets_per_second":-1}}})",
                           R"({"port":1,"status":{"oldest":"x"}})", "\xff"}) {
    INFO(body);
    const auto parsed = parse("web-1", body);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind == ErrorKind::invalid);
  }
  CHECK_FALSE(parse("../x", R"({"port":1})"));
  CHECK_FALSE(parse("web-1", Json{{"port", 1}, {"version", std::string(1000, 'x')}}.dump()));
}

TEST_CASE("a node is where it calls from") {
  const auto place = [](const std::string& url, const std::string& peer, PlacePolicy policy = {}) {
    const auto beat = Heartbeat::parse("web-1", Json{{"url", url}}.dump(), peer, policy);
    if (!beat) CHECK(beat.error().kind == ErrorKind::invalid);
    return beat ? std::optional(beat->place) : std::nullopt;
  };
  CHECK(place("http://10.0.0.7:7401", "10.0.0.7") == NodePlace{"http://10.0.0.7:7401", "10.0.0.7"});
  CHECK(place("http://10.0.0.7:7401/", "::ffff:10.0.0.7"));
  CHECK(place("http://[fe80::1]:7401", "fe80::1%eth0"));
  // A name is for the certificate: the connection goes to the caller wherever the name leads.
  CHECK(place("https://node.example:1/", "10.0.0.7") == NodePlace{"https://node.example:1", "10.0.0.7"});
  CHECK(place("http://0x7f000001:1", "10.0.0.7") == NodePlace{"http://0x7f000001:1", "10.0.0.7"});
  for (const char* wrong :
       {"http://10.0.0.8:7401", "http://127.0.0.1:22", "http://[::1]:7401", "http://10.0.0.7@10.0.0.8:1",
        "http://10.0.0.8#@10.0.0.7", "http://", "http:///", "http://:1", "ftp://10.0.0.7", "10.0.0.7:1"}) {
    INFO(wrong);
    CHECK_FALSE(place(wrong, "10.0.0.7"));
  }
  const PlacePolicy anywhere{false, true};
  CHECK(place("http://10.0.0.8:7401", "10.0.0.7", anywhere) == NodePlace{"http://10.0.0.8:7401", ""});
  CHECK(place("https://proxy.example/node-1", "10.0.0.7", anywhere) == NodePlace{"https://proxy.example/node-1", ""});
}

TEST_CASE("a hub with TLS refuses nodes without") {
  const PlacePolicy tls_only{true, false}, tls_anywhere{true, true};
  for (const PlacePolicy& policy : {tls_only, tls_anywhere}) {
    const auto parse = [&](const Json& body) { return Heartbeat::parse("web-1", body.dump(), "10.0.0.7", policy); };
    CHECK(parse({{"port", 1}, {"tls", true}}));
    CHECK(parse({{"url", "https://10.0.0.7:1"}}));
    CHECK_FALSE(parse({{"port", 1}}));
    CHECK_FALSE(parse({{"port", 1}, {"tls", false}}));
    const auto refused = parse({{"url", "http://10.0.0.7:1"}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("--tls-cert") != std::string::npos);
  }
  CHECK_FALSE(NodeClient::create({"token", "", true}, "n1", {"http://127.0.0.1:1", ""}, kNsPerSecond));

  // One that an earlier run without TLS had taken is not called either.
  const TemporaryDirectory directory;
  TestClock clock;
  {
    NodeRegistry registry(directory.path() / "nodes.json", clock);
    REQUIRE(registry.take(beat("web-1", "a", 7401)));
    registry.save_if_due(true);
  }
  CHECK(NodeRegistry(directory.path() / "nodes.json", clock, tls_only).nodes().empty());
  CHECK(NodeRegistry(directory.path() / "nodes.json", clock).nodes().size() == 1);
}

TEST_CASE("a journal cut anywhere gives back its whole lines") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "journal.ndjson";
  archive::MemberEntry entry{
      "nodes/a/packets/00000003.pcapng", "a", 100, 512, 10, std::string(64, 'a'), 1,
      {{20, 10, 5, 6, 1, "x"}}};
  std::vector<JournalLine> lines;
  {
    auto journal = Journal::open(file, lines);
    REQUIRE(journal);
    CHECK(lines.empty());
    const JournalLine stored{"a", 3, MemberOutcome::stored, "", entry};
    REQUIRE(journal->append(stored));
    REQUIRE(journal->append({"b", 0, MemberOutcome::empty, "", {}}));
    REQUIRE(journal->mark_durable(2));
    REQUIRE(journal->append({"b", 1, MemberOutcome::dropped, "bad \"quote\"\n", {}}));
    REQUIRE(journal->sync());
  }
  const std::string text = *read_file(file);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    std::ofstream(file, std::ios::trunc) << text.substr(0, cut);
    auto journal = Journal::open(file, lines);
    REQUIRE(journal);
    const auto written = static_cast<size_t>(
        std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(cut), '\n'));
    CHECK(lines.size() == (written < 3 ? written : written - 1));
    CHECK(journal->durable() == (written < 3 ? 0 : 2));
    REQUIRE(journal->append({"c", 9, MemberOutcome::given_up, "", {}}));
    const size_t whole = lines.size();
    REQUIRE(Journal::open(file, lines));
    REQUIRE(lines.size() == whole + 1);
    CHECK(lines.back().index == 9);
  }
  std::ofstream(file, std::ios::trunc) << text;
  REQUIRE(Journal::open(file, lines));
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].member == entry);
  CHECK(lines[2].reason == "bad \"quote\"\n");
  {
    auto journal = Journal::open(file, lines);
    REQUIRE(journal->rewrite(std::span(lines).first(2)));
  }
  auto again = Journal::open(file, lines);
  REQUIRE(again);
  CHECK(lines.size() == 2);
  CHECK(again->durable() == 0);
  std::ofstream(file, std::ios::app) << "{\"durable\":3}\n";
  again = Journal::open(file, lines);
  CHECK(again->durable() == 0);  // more than there are: damaged
}

TEST_CASE("a snapshot's record survives its file") {
  SnapshotRecord record;
  record.name = "x";
  record.id = "0123";
  record.state = archive::SnapshotState::in_progress;
  record.window = {1'000, 2'000};
  record.created_ns = 3'000;
  record.deadline_ns = 5;
  record.networks = {"10.0.0.0/8"};
  record.tags = {{"a", "b"}};
  NodeRecord node;
  node.entry.name = "web-1";
  node.entry.coverage = TimeWindow{5, 6};
  node.entry.gaps = {{1, 2, 3, "kernel ring full"}};
  node.entry.clock = {{1, 2, 3, 4}};
  node.entry.interfaces = {{"eth0", 1, "02:00:00:00:00:01"}};
  node.place = {"http://x", "10.0.0.7"};
  node.entry.excluded = {{"tcp 10.0.0.7:7401 10.0.0.1:*", 1, 2}};
  node.frozen = true;
  node.covers_window = true;
  node.compressed_bytes = 7;
  node.members = {{0, 1, 2, false, archive::MemberKind::packets, {}}, {5, 6, 7, true, archive::MemberKind::os_events, TimeWindow{8, 9}}};
  node.window = {3, 11};
  record.nodes.push_back(node);
  const auto read = SnapshotRecord::from_json(record.to_json());
  REQUIRE(read);
  CHECK(read->to_json() == record.to_json());
  CHECK(read->nodes[0].entry == node.entry);
  CHECK(read->nodes[0].place == node.place);
  CHECK(read->nodes[0].members[1].given_up);
  CHECK(read->nodes[0].members[1].stamps == TimeWindow{8, 9});
  CHECK(read->nodes[0].window == TimeWindow{3, 11});
  const std::string text = record.to_json();
  for (size_t cut = 0; cut + 2 < text.size(); cut += 7)
    CHECK_FALSE(SnapshotRecord::from_json(text.substr(0, cut)));
}

TEST_CASE("the event feed tells slow readers what they missed") {
  EventFeed feed;
  for (int i = 0; i < 300; ++i) feed.publish("snapshot", std::to_string(i));
  auto batch = feed.after(0);
  CHECK(batch.events.size() == 256);
  CHECK(batch.missed == 44);
  batch = feed.after(feed.last_number());
  CHECK(batch.events.empty());
  int wakes = 0;
  const uint64_t listener = feed.listen([&] { ++wakes; });
  feed.publish("snapshot", "300");
  CHECK(wakes == 1);
  feed.close();
  CHECK(wakes == 2);
  CHECK(feed.after(300).closed);
  CHECK(feed.after(300).events.size() == 1);
  feed.unlisten(listener);
  feed.publish("snapshot", "301");
  CHECK(wakes == 2);
  CHECK(feed.run().size() == 8);
  CHECK(feed.run() != EventFeed().run());
}

TEST_CASE("exports are remembered for ten minutes") {
  TestClock clock;
  ExportLog log(clock);
  log.begin("a");
  CHECK(log.find("a")->at("state") == "running");
  exporter::ExportStats stats;
  stats.packets_written = 5;
  log.end("a", stats);
  CHECK(log.find("a")->at("packets_written") == 5);
  log.end("b", fail(ErrorKind::invalid, "no"));
  CHECK(log.find("b")->at("error") == "no");
  clock.at = 601 * kNsPerSecond;
  CHECK_FALSE(log.find("a"));
  for (int i = 0; i < 2000; ++i) log.begin(std::to_string(i));
  CHECK_FALSE(log.find("900"));
  CHECK(log.find("1999"));
}
