// What comes from the kernel: records of the ring buffer, sock_diag, /proc.
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <map>

#include "observe/bpf/events.h"
#include "observe/cgroup_files.hpp"
#include "observe/socket_scan.hpp"
#include "observe/translator.hpp"

using namespace lookback;
using namespace lookback::observe;

namespace {

const std::string kId(64, 'a');

struct Translation {
  LiveTable table;
  std::vector<Event> events;
  std::map<uint64_t, std::string> paths;
  std::map<uint32_t, Event> processes;
  Translator translator{table, surroundings(),
                        [this](const Event& event) { events.push_back(event); }};

  Surroundings surroundings() {
    Surroundings around;
    around.drop_reason = [](uint32_t reason) { return "R" + std::to_string(reason); };
    around.look_up_process = [this](uint32_t pid) -> std::optional<Event> {
      if (const auto it = processes.find(pid); it != processes.end()) return it->second;
      return std::nullopt;
    };
    around.look_up_cgroup = [this](uint64_t key, uint32_t) {
      Event event;
      event.kind = Kind::cgroup;
      event.cgroup = key;
      event.text = paths[key];
      if (event.text.find(kId) != std::string::npos) event.container = kId;
      return event;
    };
    around.on_cgroup_path = [this](uint64_t key, std::string path) {
      paths[key] = std::move(path);
    };
    around.v1_hierarchy = 4;
    return around;
  }
  template <class T>
  bool take(const T& record, size_t size = sizeof(T)) {
    return translator.take(std::as_bytes(std::span(&record, 1)).first(size));
  }
};

lb_process_event process_record(uint32_t kind, uint32_t pid, uint64_t time) {
  lb_process_event record{};
  record.head.kind = kind;
  record.head.time = time;
  record.task.pid = record.task.tid = pid;
  record.ppid = 1;
  std::strcpy(record.task.comm, "name");
  return record;
}

lb_socket_event socket_record(uint32_t kind, uint64_t id, uint32_t pid, uint8_t state = 1) {
  lb_socket_event record{};
  record.head.kind = kind;
  record.head.time = 100;
  record.socket = id;
  record.task.pid = record.task.tid = pid;
  record.ends.family = 4;
  record.ends.protocol = 6;
  record.ends.state = state;
  record.ends.local_port = 1000;
  record.ends.remote_port = 80;
  record.ends.local[0] = record.ends.remote[0] = 10;
  return record;
}

std::string kinds(const std::vector<Event>& events) {
  std::string text;
  for (const auto& event : events)
    text += (text.empty() ? "" : " ") + std::string(to_string(event.kind));
  return text;
}

}  // namespace

TEST_CASE("times of the kernel become times of the day") {
  Translation t;
  t.translator.set_clock({1'000'000, 2'000'000});
  auto fork = process_record(LB_FORK, 5, 10);
  fork.start = 20;
  REQUIRE(t.take(fork));
  REQUIRE(t.events.size() == 1);
  CHECK(t.events[0].time_ns == 1'000'010);
  CHECK(t.events[0].start_ns == 2'000'020);
}

TEST_CASE("an exec record is as long as its arguments") {
  Translation t;
  lb_exec_event record{};
  record.process = process_record(LB_EXEC, 5, 10);
  std::strcpy(record.exe, "/bin/sh");
  std::memcpy(record.argv, "sh\0-c\0", 6);
  record.argv_bytes = 6;
  REQUIRE(t.take(record, offsetof(lb_exec_event, argv) + 6));
  CHECK(t.events.back().argv == std::string("sh\0-c\0", 6));
  CHECK_FALSE(t.events.back().argv_cut);
  record.argv_bytes = 5000;
  REQUIRE(t.take(record));
  CHECK(t.events.back().argv.size() == LB_ARGV_BYTES);
  CHECK(t.events.back().argv_cut);
  // More is claimed than there is.
  REQUIRE(t.take(record, offsetof(lb_exec_event, argv) + 2));
  CHECK(t.events.back().argv == "sh");
  CHECK_FALSE(t.take(record, offsetof(lb_exec_event, argv) - 1));
}

TEST_CASE("a process starts once, however the clocks are measured") {
  Translation translation;
  constexpr uint64_t kStart = 5'000'000'000;
  auto fork = process_record(LB_FORK, 5, 10);
  fork.start = kStart;
  translation.translator.set_clock({0, 1000});
  CHECK(translation.take(fork));
  translation.translator.set_clock({0, 1090});
  lb_exec_event exec{};
  exec.process = process_record(LB_EXEC, 5, 20);
  exec.process.start = kStart;
  CHECK(translation.take(exec));
  // Another process of that number, whose predecessor's end was not told.
  exec.process.start = kStart + 1'000'000'000;
  CHECK(translation.take(exec));
  std::vector<int64_t> starts;
  for (const auto& event : translation.events)
    if (event.kind == Kind::fork || event.kind == Kind::exec) starts.push_back(event.start_ns);
  CHECK(starts == std::vector<int64_t>{5'000'001'000, 5'000'001'000, 6'000'001'090});
}

TEST_CASE("exit codes and signals are told apart") {
  Translation t;
  auto record = process_record(LB_EXIT, 5, 10);
  record.exit_code = 7 << 8;
  REQUIRE(t.take(record));
  CHECK(t.events.back().exit_code == 7);
  record.exit_code = 11 | 0x80;
  REQUIRE(t.take(record));
  CHECK(t.events.back().signal == 11);
  CHECK(t.events.back().exit_code == kNoCode);
}

TEST_CASE("records that are cut or unknown are passed over") {
  Translation t;
  const auto record = socket_record(LB_ACCEPT, 1, 0);
  for (size_t size = 0; size < sizeof record; ++size) CHECK_FALSE(t.take(record, size));
  CHECK_FALSE(t.take(socket_record(99, 1, 0)));
  CHECK_FALSE(t.take(process_record(LB_FORK, 0, 1)));
  CHECK(t.events.empty());
}

TEST_CASE("a connect bears who began it, and what follows on its socket does too") {
  Translation t;
  t.processes[9].comm = "curl";
  auto connected = socket_record(LB_CONNECT, 3, 9);
  std::strcpy(connected.task.comm, "curl");
  REQUIRE(t.take(connected));
  CHECK(kinds(t.events) == "process connect");
  CHECK(t.events[1].pid == 9);
  CHECK(t.events[1].comm == "curl");
  REQUIRE(t.take(socket_record(LB_RETRANSMIT, 3, 0)));
  CHECK(t.events.back().pid == 9);
  REQUIRE(t.take(socket_record(LB_CLOSE, 3, 0, 7)));
  CHECK(t.events.back().kind == Kind::close);
  CHECK(t.events.back().pid == 9);
  CHECK(t.events.back().has_bytes);
  CHECK(t.table.sockets() == 0);
}

TEST_CASE("of a socket whose end was not seen the bytes are not told") {
  Translation t;
  REQUIRE(t.take(socket_record(LB_ACCEPT, 2, 0)));
  auto closed = socket_record(LB_CLOSE, 2, 0);
  closed.first = 1;
  REQUIRE(t.take(closed));
  CHECK(t.events.back().kind == Kind::close);
  CHECK_FALSE(t.events.back().has_bytes);
  CHECK_FALSE(t.events.back().first);
  CHECK(t.table.sockets() == 0);
}

TEST_CASE(
    "the first use of an accepted socket tells whose it is from its start; a later one is a "
    "change") {
  Translation t;
  auto listen = socket_record(LB_LISTEN, 1, 9, tcp_state::kListen);
  listen.ends.remote_port = 0;
  listen.ends.local[0] = listen.ends.remote[0] = 0;
  REQUIRE(t.take(listen));
  REQUIRE(t.take(socket_record(LB_ACCEPT, 2, 0)));
  CHECK(t.events.back().listener_pid == 9);
  CHECK(t.events.back().pid == 0);
  REQUIRE(t.take(socket_record(LB_USE, 2, 10)));
  CHECK(t.events.back().kind == Kind::owner);
  CHECK(t.events.back().first);
  REQUIRE(t.take(socket_record(LB_USE, 2, 11)));
  CHECK_FALSE(t.events.back().first);
  const size_t before = t.events.size();
  REQUIRE(t.take(socket_record(LB_USE, 2, 11)));
  CHECK(t.events.size() == before);
}

TEST_CASE("of a process's two cgroups the one counts that has the container") {
  Translation t;
  const uint64_t v2 = cgroup_key(0, 7), v1 = cgroup_key(4, 7);
  CHECK(v1 != v2);
  auto fork = process_record(LB_FORK, 5, 10);
  fork.cgroup_v2 = fork.cgroup_v1 = 7;
  SECTION("v1") {
    t.paths[v2] = "/";
    t.paths[v1] = "/docker/" + kId;
    REQUIRE(t.take(fork));
    CHECK(t.events.back().cgroup == v1);
  }
  SECTION("v2") {
    t.paths[v2] = "/system.slice/docker-" + kId + ".scope";
    t.paths[v1] = "/elsewhere";
    REQUIRE(t.take(fork));
    CHECK(t.events.back().cgroup == v2);
  }
  SECTION("neither, and only v1 is used") {
    t.paths[v2] = "/";
    t.paths[v1] = "/batch";
    REQUIRE(t.take(fork));
    CHECK(t.events.back().cgroup == v1);
  }
  CHECK(kinds(t.events) == "cgroup fork");
}

TEST_CASE("a process that is moved into a new cgroup") {
  Translation t;
  auto fork = process_record(LB_FORK, 5, 10);
  fork.cgroup_v2 = 1;
  t.paths[1] = "/";
  REQUIRE(t.take(fork));
  lb_cgroup_event cgroup{};
  cgroup.head.kind = LB_CGROUP_NEW;
  cgroup.cgroup = 50;
  const std::string path = "/docker/" + kId;
  std::strcpy(cgroup.path, path.c_str());
  REQUIRE(t.take(cgroup, offsetof(lb_cgroup_event, path) + path.size() + 1));
  CHECK(kinds(t.events) == "cgroup fork");
  cgroup.head.kind = LB_CGROUP_MOVE;
  cgroup.pid = 5;
  REQUIRE(t.take(cgroup));
  CHECK(kinds(t.events) == "cgroup fork cgroup move");
  CHECK(t.events[2].container == kId);
  CHECK(t.table.process(5)->cgroup == 50);
  // A hierarchy that is not looked at.
  cgroup.hierarchy = 9;
  REQUIRE(t.take(cgroup));
  CHECK(t.table.process(5)->cgroup == 50);
}

TEST_CASE("drops have the packet's ends and the reason's word") {
  Translation t;
  lb_drop_event record{};
  record.head.kind = LB_DROP;
  record.ends.family = 6;
  record.ends.protocol = 17;
  record.ends.remote_port = 53;
  record.reason = 3;
  REQUIRE(t.take(record));
  CHECK(t.events[0].text == "R3");
  CHECK(t.events[0].remote.text() == "::");
  CHECK(t.events[0].remote_port == 53);
}

TEST_CASE("/proc/<pid>/stat with a name that has anything in it") {
  const auto stat =
      parse_stat("12 (a) b) (c) S 7 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 8765 100 1");
  REQUIRE(stat);
  CHECK(stat->comm == "a) b) (c");
  CHECK(stat->ppid == 7);
  CHECK(stat->start_ticks == 8765);
  for (const char* text : {"", "1", "1 (x", "1 (x) S", "1 (x) S y 1", ")("})
    CHECK_FALSE(parse_stat(text));
}

TEST_CASE("the v1 hierarchy to look at") {
  const std::string head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
  CHECK_FALSE(choose_controller(head + "cpu\t0\t1\t1\nmemory\t0\t1\t1\n"));
  const auto chosen = choose_controller(head + "cpu\t2\t1\t1\nmemory\t3\t1\t1\npids\t0\t1\t1\n");
  REQUIRE(chosen);
  CHECK(chosen->name == "memory");
  CHECK(chosen->hierarchy == 3);
}

TEST_CASE("sock_diag's answers") {
  struct {
    nlmsghdr head;
    inet_diag_msg diag;
    nlmsghdr done;
  } answer{};
  answer.head.nlmsg_len = sizeof answer.head + sizeof answer.diag;
  answer.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  answer.diag.idiag_family = AF_INET;
  answer.diag.idiag_state = tcp_state::kListen;
  answer.diag.id.idiag_sport = htons(80);
  answer.diag.id.idiag_cookie[0] = 5;
  answer.diag.idiag_inode = 77;
  answer.done.nlmsg_len = sizeof answer.done;
  answer.done.nlmsg_type = NLMSG_DONE;
  const auto bytes = std::as_bytes(std::span(&answer, 1));
  std::vector<DiagSocket> found;
  const auto done = parse_diag(bytes, kProtocolTcp, 9, found);
  REQUIRE(done);
  CHECK(*done);
  REQUIRE(found.size() == 1);
  CHECK(found[0].inode == 77);
  CHECK(found[0].event.local_port == 80);
  CHECK(found[0].event.remote.family == 0);
  CHECK(found[0].event.socket == 5);
  const auto more = parse_diag(bytes.first(answer.head.nlmsg_len), kProtocolTcp, 9, found);
  REQUIRE(more);
  CHECK_FALSE(*more);
  CHECK_FALSE(parse_diag(bytes.first(40), kProtocolTcp, 9, found));
  answer.head.nlmsg_len = 17;
  CHECK_FALSE(parse_diag(bytes, kProtocolTcp, 9, found));
}
