#include <catch2/catch.hpp>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/json.hpp"
#include "lookback/observe/event_segment.hpp"
#include "lookback/observe/event_segment_format.hpp"
#include "observe/live_table.hpp"

using namespace lookback;
using namespace lookback::observe;

namespace {

constexpr int64_t kStart = 1'700'000'000'000'000'000;

Address ipv4(uint8_t last) {
  const uint8_t bytes[4] = {10, 0, 0, last};
  return Address::make(4, bytes);
}

Event socket_event(Kind kind, int64_t time_ns, uint64_t id, uint32_t pid, uint16_t port) {
  Event event;
  event.kind = kind;
  event.time_ns = time_ns;
  event.socket = id;
  event.pid = pid;
  event.protocol = kProtocolTcp;
  event.netns = 4026531840;
  event.local = ipv4(1);
  event.local_port = port;
  event.remote = ipv4(2);
  event.remote_port = 80;
  return event;
}

Event process_event(Kind kind, int64_t time_ns, uint32_t pid, const std::string& comm) {
  Event event;
  event.kind = kind;
  event.time_ns = time_ns;
  event.pid = pid;
  event.ppid = 1;
  event.uid = 0;
  event.comm = comm;
  return event;
}

/// Every field of it is set to something.
Event full_event() {
  Event event = socket_event(Kind::close, kStart, (1ULL << 53) - 1, 4'000'000, 65535);
  event.tid = 7;
  event.ppid = 1;
  event.uid = 0;
  event.comm = "na\"me";
  event.cgroup = 1ULL << 50;
  event.peer_netns = 4'026'531'840;
  event.recorder = event.loopback = true;
  event.start_ns = -5;
  event.exe = "/bin/x";
  event.argv = std::string("a\0b c\0", 6);
  event.argv_cut = true;
  event.exit_code = 0;
  event.signal = 9;
  event.state = 2;
  event.role = Role::server;
  event.first = event.sent_reset = event.has_bytes = true;
  event.opened_ns = kStart - 1;
  event.ended_ns = kStart - 2;
  event.sent_bytes = ~uint64_t{0};
  event.received_bytes = 1;
  event.listener_pid = 3;
  event.interface = 2;
  event.count = 5;
  event.from_ns = 6;
  event.text = "text";
  event.container = "c";
  event.runtime = "r";
  event.pod_uid = "p";
  event.name = "n";
  event.image = "i";
  event.cgroups = event.processes = event.sockets = 8;
  return event;
}

std::string segment_of(const std::vector<Event>& events) {
  std::string bytes = event_segment_header(3, kStart);
  for (const auto& event : events) append_event_record(event, bytes);
  return bytes;
}

std::vector<Event> some_events() {
  LiveTable table;
  table.apply(process_event(Kind::process, kStart, 812, "nginx"));
  table.apply(socket_event(Kind::socket, kStart, 1, 812, 1000));
  std::vector<Event> events;
  table.checkpoint(kStart, "boot", [&](const Event& event) { events.push_back(event); });
  events.push_back(socket_event(Kind::connect, kStart + 10, 2, 812, 1001));
  events.push_back(process_event(Kind::fork, kStart + 20, 813, "nginx"));
  events.push_back(socket_event(Kind::owner, kStart + 30, 1, 813, 1000));
  events.push_back(socket_event(Kind::close, kStart + 40, 1, 813, 1000));
  return events;
}

std::vector<Json> rendered(const std::vector<Event>& events, TimeWindow window) {
  const std::string bytes = segment_of(events);
  const auto segment = parse_event_segment(as_bytes(bytes));
  REQUIRE(segment);
  std::vector<Json> lines;
  render_member(*segment, window, [&](std::string_view line, int64_t time_ns) {
    auto json = parse_json(line, "line");
    REQUIRE(json);
    REQUIRE((*json)["time"] == time_ns);
    CHECK(line.ends_with("}\n"));
    lines.push_back(std::move(*json));
  });
  return lines;
}

std::string kinds_of(const std::vector<Json>& lines) {
  std::string kinds;
  for (const auto& line : lines)
    kinds += (kinds.empty() ? "" : " ") + line["kind"].get<std::string>();
  return kinds;
}

}  // namespace

TEST_CASE("an event survives its binary form") {
  for (const Event& event : {full_event(), Event{}, process_event(Kind::exit, 0, 1, "")}) {
    std::string bytes;
    encode_event(event, bytes);
    const auto back = decode_event(as_bytes(bytes));
    REQUIRE(back);
    CHECK(*back == event);
  }
}

TEST_CASE("an event of a later version is read without what is new in it") {
  std::string bytes;
  encode_event(full_event(), bytes);
  bytes += "\xa0\x06\x05";  // field 400, the number 5
  bytes +=
      "\xa3\x06\x02"
      "ab";  // field 401, two bytes
  const auto back = decode_event(as_bytes(bytes));
  REQUIRE(back);
  CHECK(*back == full_event());
}

TEST_CASE("an event that is cut or out of range is refused") {
  std::string bytes;
  encode_event(full_event(), bytes);
  // A cut between two fields is one event less them; the frame around an event has its length.
  for (size_t length = 0; length < bytes.size(); ++length)
    if (const auto event = decode_event(as_bytes(std::string_view(bytes).substr(0, length))))
      CHECK_FALSE(*event == full_event());
  CHECK_FALSE(decode_event(as_bytes(std::string("\x00\x00", 2))));
  CHECK_FALSE(decode_event(as_bytes(std::string("\x17\x00", 2))));  // kind 23
  CHECK_FALSE(decode_event(as_bytes(std::string("\x01", 1))));      // no time
  CHECK_FALSE(
      decode_event(as_bytes(std::string("\x01\x00\x28\x80\x80\x04", 6))));  // a port of 65536
  CHECK_FALSE(decode_event(as_bytes(std::string("\x01\x00\x0b\x7f", 4))));  // longer than there is
}

TEST_CASE("JSON has what is known, in order, and any bytes as valid text") {
  std::string line;
  Event exec = process_event(Kind::exec, kStart, 5,
                             "s\xff"
                             "h\n");
  exec.exe = "/bin/\xc3\xa4";
  exec.argv = std::string("sh\0-c\0\0", 7);
  append_json(exec, line);
  CHECK(line ==
        "{\"kind\":\"exec\",\"time\":1700000000000000000,\"pid\":5,\"ppid\":1,\"uid\":0,"
        "\"comm\":\"s\\ufffdh\\u000a\",\"exe\":\"/bin/\xc3\xa4\",\"argv\":[\"sh\",\"-c\",\"\"]}\n");
  line.clear();
  Event accept = socket_event(Kind::accept, 1, 9, 0, 80);
  const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 9};
  accept.remote = Address::make(6, mapped);
  accept.listener_pid = 4;
  append_json(accept, line);
  CHECK(line ==
        "{\"kind\":\"accept\",\"time\":1,\"socket\":9,\"protocol\":\"tcp\",\"netns\":4026531840,"
        "\"local\":\"10.0.0.1\",\"local_port\":80,\"remote\":\"10.0.0.9\",\"remote_port\":80,"
        "\"listener_pid\":4}\n");
  for (uint8_t kind = 1; kind <= kLastKind; ++kind) {
    Event event = full_event();
    event.kind = static_cast<Kind>(kind);
    line.clear();
    append_json(event, line);
    INFO(line);
    const auto json = parse_json(line, "line");
    REQUIRE(json);
    CHECK((*json)["kind"] == std::string(to_string(event.kind)));
  }
}

TEST_CASE("a member begins with the state at the window's start") {
  const auto events = some_events();
  const auto all = rendered(events, {0, INT64_MAX});
  CHECK(kinds_of(all) == "checkpoint process socket connect fork owner close");
  CHECK(all[0]["processes"] == 1);
  CHECK(all[0]["sockets"] == 1);
  CHECK(all[0]["boot_id"] == "boot");

  const auto later = rendered(events, {kStart + 25, kStart + 40});
  CHECK(kinds_of(later) == "checkpoint process process socket socket owner");
  CHECK(later[0]["time"] == kStart + 25);
  CHECK(later[1]["pid"] == 812);
  CHECK(later[2]["pid"] == 813);
  CHECK(later[4]["role"] == "client");
  CHECK(later[4]["opened"] == kStart + 10);

  const auto last = rendered(events, {kStart + 41, kStart + 50});
  CHECK(kinds_of(last) == "checkpoint process process socket");
  CHECK(rendered(events, {0, kStart}).empty());
}

TEST_CASE("events stand in the order of their times, though they were written otherwise") {
  auto events = some_events();
  std::swap(events[3], events[5]);
  CHECK(kinds_of(rendered(events, {0, INT64_MAX})) ==
        "checkpoint process socket connect fork owner close");
}

TEST_CASE("a damaged record costs itself alone") {
  const auto events = some_events();
  const std::string whole = segment_of(events);
  for (size_t at = sizeof(EventSegmentHeader); at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x41);
    const auto segment = parse_event_segment(as_bytes(bytes));
    REQUIRE(segment);
    INFO(at);
    CHECK(segment->events.size() == events.size() - 1);
    CHECK(segment->damaged_bytes > 0);
  }
}

TEST_CASE("a segment that was cut anywhere gives everything before") {
  const auto events = some_events();
  const std::string whole = segment_of(events);
  size_t most = 0;
  for (size_t length = 0; length <= whole.size(); ++length) {
    const auto segment = parse_event_segment(as_bytes(std::string_view(whole).substr(0, length)));
    if (length < sizeof(EventSegmentHeader)) {
      CHECK_FALSE(segment);
      continue;
    }
    REQUIRE(segment);
    CHECK(segment->sequence == 3);
    CHECK(segment->events.size() >= most);
    most = segment->events.size();
  }
  CHECK(most == events.size());
}

TEST_CASE("what is not a segment is refused") {
  std::string bytes = segment_of(some_events());
  bytes[20] = static_cast<char>(bytes[20] ^ 1);
  CHECK_FALSE(parse_event_segment(as_bytes(bytes)));
  CHECK_FALSE(parse_event_segment(as_bytes(std::string(100, 'x'))));
}

TEST_CASE("state: who has what after a row of events") {
  LiveTable table;
  Event server = process_event(Kind::exec, 1, 10, "server");
  server.exe = "/bin/server";
  server.start_ns = 77;
  table.apply(server);
  table.apply(process_event(Kind::fork, 2, 11, "server"));
  // No parent known: nothing to take over.
  CHECK(table.process(11)->exe.empty());
  Event fork = process_event(Kind::fork, 2, 12, "server");
  fork.ppid = 10;
  table.apply(fork);
  CHECK(table.process(12)->exe == "/bin/server");
  Event exec = process_event(Kind::exec, 3, 10, "other");
  table.apply(exec);
  CHECK(table.process(10)->start_ns == 77);
  CHECK(table.process(10)->comm == "other");
  table.apply(process_event(Kind::exit, 4, 12, ""));
  CHECK(table.process(12) == nullptr);

  Event listen = socket_event(Kind::listen, 1, 5, 10, 80);
  listen.local = Address{};
  listen.local.family = 6;
  listen.remote = Address{};
  listen.remote_port = 0;
  table.apply(listen);
  Event accept = socket_event(Kind::accept, 2, 6, 0, 80);
  CHECK(table.listener_pid(accept) == 10);
  accept.netns = 1;
  CHECK(table.listener_pid(accept) == 0);

  // The same ends again: whatever had them is gone.
  table.apply(socket_event(Kind::connect, 3, 7, 10, 4000));
  table.apply(socket_event(Kind::connect, 4, 8, 10, 4000));
  CHECK(table.socket(7) == nullptr);
  CHECK(table.socket_at(Ends::of(socket_event(Kind::connect, 4, 8, 10, 4000)))->socket == 8);
  table.apply(socket_event(Kind::close, 5, 8, 10, 4000));
  CHECK(table.socket_at(Ends::of(socket_event(Kind::connect, 4, 8, 10, 4000))) == nullptr);
  CHECK(table.sockets() == 1);
}
