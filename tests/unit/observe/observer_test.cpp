// The whole recorder against the running kernel: what this process and its children do is to be
// found in a frozen window.
#include "lookback/observe/observer.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "lookback/base/fd.hpp"
#include "lookback/base/json.hpp"
#include "lookback/observe/event_segment.hpp"
#include "unit/observe/support/kernel_rights.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::observe;

namespace {

struct Recording {
  test::TemporaryDirectory folder;
  std::unique_ptr<Observer> observer;
  int64_t begun_ns = Clock::system().realtime_ns();

  explicit Recording(uint32_t ring_bytes = ObserverOptions().ring_bytes) {
    ObserverOptions options;
    options.ring_bytes = ring_bytes;
    options.store.directory = folder / "events";
    auto started = Observer::start(std::move(options), Clock::system());
    REQUIRE(started);
    observer = std::move(*started);
    INFO(observer->status().reason);
    REQUIRE(observer->status().state == "recording");
  }

  /// The lines of everything since the start.
  std::vector<Json> lines() {
    static int number = 0;
    const std::string id = "f" + std::to_string(++number);
    const TimeWindow window{begun_ns, Clock::system().realtime_ns() + 1};
    REQUIRE(observer->freeze(id, window));
    std::vector<Json> lines;
    for (const auto& segment : observer->store().frozen(id)) {
      const auto bytes = observer->store().read(id, segment.sequence);
      REQUIRE(bytes);
      const auto parsed = parse_event_segment(as_bytes(*bytes));
      REQUIRE(parsed);
      CHECK(parsed->damaged_bytes == 0);
      render_member(*parsed, window, [&](std::string_view line, int64_t) {
        auto json = parse_json(line, "line");
        REQUIRE(json);
        lines.push_back(std::move(*json));
      });
    }
    return lines;
  }
};

std::vector<Json> matching(const std::vector<Json>& lines, const std::string& kind,
                           const std::function<bool(const Json&)>& is_wanted) {
  std::vector<Json> found;
  for (const auto& line : lines)
    if (line["kind"] == kind && is_wanted(line)) found.push_back(line);
  return found;
}

bool is_linux(int major, int minor) {
  utsname name{};
  int has_major = 0, has_minor = 0;
  REQUIRE(uname(&name) == 0);
  REQUIRE(std::sscanf(name.release, "%d.%d", &has_major, &has_minor) == 2);
  return std::pair(has_major, has_minor) >= std::pair(major, minor);
}

/// Runs in a child of its own; returns its pid once it has ended.
pid_t in_child(const std::function<int()>& work) {
  const pid_t pid = fork();
  if (pid == 0) _exit(work());
  int status = 0;
  waitpid(pid, &status, 0);
  return pid;
}

struct Listener {
  Fd socket;
  uint16_t port = 0;
  int family;
  explicit Listener(int of = AF_INET)
      : socket(::socket(of, SOCK_STREAM | SOCK_CLOEXEC, 0)), family(of) {
    sockaddr_storage storage{};
    storage.ss_family = static_cast<sa_family_t>(of);
    socklen_t length = sizeof storage;
    if (of == AF_INET)
      reinterpret_cast<sockaddr_in&>(storage).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
      reinterpret_cast<sockaddr_in6&>(storage).sin6_addr = in6addr_loopback;
    const socklen_t size = of == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    REQUIRE(bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
    REQUIRE(listen(socket.get(), 16) == 0);
    getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    address = storage;
    address_size = size;
    port = ntohs(reinterpret_cast<sockaddr_in&>(storage).sin_port);
  }
  [[nodiscard]] Fd connect() const {
    Fd client(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), address_size) != 0)
      return Fd();
    return client;
  }
  sockaddr_storage address{};
  socklen_t address_size = 0;
};

uint16_t local_port(const Fd& socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  return ntohs(reinterpret_cast<sockaddr_in&>(storage).sin_port);
}

}  // namespace

TEST_CASE("processes: fork, exec with its arguments, exit code and signal", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  Recording recording;
  const pid_t execs = in_child([] {
    execl("/bin/sh", "sh", "-c", "exit 7", "an argument", static_cast<char*>(nullptr));
    return 1;
  });
  const pid_t killed = in_child([] {
    raise(SIGKILL);
    return 0;
  });
  const auto lines = recording.lines();
  const auto of = [](pid_t pid) { return [pid](const Json& line) { return line["pid"] == pid; }; };

  const auto forks = matching(lines, "fork", of(execs));
  REQUIRE(forks.size() == 1);
  CHECK(forks[0]["ppid"] == getpid());
  CHECK(forks[0]["uid"] == getuid());
  const auto exec = matching(lines, "exec", of(execs));
  REQUIRE(exec.size() == 1);
  CHECK(exec[0]["exe"] == "/bin/sh");
  CHECK(exec[0]["comm"] == "sh");
  CHECK(exec[0]["argv"] == Json::array({"sh", "-c", "exit 7", "an argument"}));
  CHECK(exec[0]["start"] == forks[0]["start"]);
  const auto exits = matching(lines, "exit", of(execs));
  REQUIRE(exits.size() == 1);
  CHECK(exits[0]["exit_code"] == 7);
  CHECK(exits[0]["time"] >= exec[0]["time"]);
  const auto kill = matching(lines, "exit", of(killed));
  REQUIRE(kill.size() == 1);
  CHECK(kill[0]["signal"] == SIGKILL);
  CHECK_FALSE(kill[0].contains("exit_code"));
  // The checkpoint has who was there before.
  const auto self = matching(lines, "process", of(getpid()));
  REQUIRE_FALSE(self.empty());
  CHECK(self[0]["exe"] == std::filesystem::read_symlink("/proc/self/exe").string());
}

TEST_CASE("a connection belongs to who connects and to who accepts", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  const int family = GENERATE(AF_INET, AF_INET6);
  Recording recording;
  const Listener listener(family);
  uint16_t port = 0;
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  // The server is a child that inherited the listening socket; the client another one.
  const pid_t server = fork();
  if (server == 0) {
    const Fd accepted(accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char text[16];
    const ssize_t got = read(accepted.get(), text, sizeof text);
    _exit(write(accepted.get(), text, static_cast<size_t>(got)) == got ? 0 : 1);
  }
  const pid_t client = in_child([&] {
    const Fd socket = listener.connect();
    const uint16_t own = local_port(socket);
    char text[16];
    if (write(pipe_ends[1], &own, sizeof own) != sizeof own || write(socket.get(), "hello", 5) != 5)
      return 1;
    return read(socket.get(), text, sizeof text) == 5 ? 0 : 1;
  });
  REQUIRE(waitpid(server, nullptr, 0) == server);
  REQUIRE(read(pipe_ends[0], &port, sizeof port) == sizeof port);
  close(pipe_ends[0]);
  close(pipe_ends[1]);

  const auto lines = recording.lines();
  const std::string address = family == AF_INET ? "127.0.0.1" : "::1";
  struct stat netns {};
  stat("/proc/self/ns/net", &netns);

  const auto listens = matching(
      lines, "listen", [&](const Json& l) { return l.value("local_port", 0) == listener.port; });
  REQUIRE(listens.size() == 1);
  CHECK(listens[0]["pid"] == getpid());
  CHECK(listens[0]["local"] == address);

  const auto connects =
      matching(lines, "connect", [&](const Json& l) { return l.value("local_port", 0) == port; });
  REQUIRE(connects.size() == 1);
  CHECK(connects[0]["pid"] == client);
  CHECK(connects[0]["local"] == address);
  CHECK(connects[0]["remote"] == address);
  CHECK(connects[0]["remote_port"] == listener.port);
  CHECK(connects[0]["netns"] == netns.st_ino);
  CHECK(connects[0]["protocol"] == "tcp");
  CHECK(connects[0]["uid"] == getuid());

  const auto accepts =
      matching(lines, "accept", [&](const Json& l) { return l.value("remote_port", 0) == port; });
  REQUIRE(accepts.size() == 1);
  CHECK(accepts[0]["listener_pid"] == getpid());
  CHECK_FALSE(accepts[0].contains("pid"));
  const auto owners =
      matching(lines, "owner", [&](const Json& l) { return l.value("remote_port", 0) == port; });
  REQUIRE(owners.size() == 1);
  CHECK(owners[0]["pid"] == server);
  CHECK(owners[0]["first"] == true);
  CHECK(owners[0]["socket"] == accepts[0]["socket"]);

  const auto closes = matching(lines, "close", [&](const Json& l) {
    return l.value("remote_port", 0) == port || l.value("local_port", 0) == port;
  });
  REQUIRE(closes.size() == 2);
  for (const auto& close : closes) {
    const bool is_client = close["local_port"] == port;
    CHECK(close["pid"] == (is_client ? client : server));
    CHECK(close["received_bytes"] == 5);
    CHECK(close["socket"] == (is_client ? connects : accepts)[0]["socket"]);
  }
}

TEST_CASE("a connection that is refused, and one that nobody reads from", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  Recording recording;
  uint16_t port = 0;
  {
    const Listener listener;
    port = listener.port;
  }
  const pid_t refused = in_child([&] {
    const Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 ? 1 : 0;
  });
  const Listener listener;
  const Fd client = listener.connect();
  const uint16_t client_port = local_port(client);
  in_child([&] {
    // Accepted and closed again without a byte.
    Fd accepted(accept4(listener.socket.get(), nullptr, nullptr, 0));
    return accepted ? 0 : 1;
  });
  const auto lines = recording.lines();
  const auto connects =
      matching(lines, "connect", [&](const Json& l) { return l.value("remote_port", 0) == port; });
  REQUIRE(connects.size() == 1);
  CHECK(connects[0]["pid"] == refused);
  CHECK(connects[0]["local_port"] != 0);
  const auto resets = matching(lines, "reset", [&](const Json& l) {
    return l.value("local_port", 0) == port || l.value("remote_port", 0) == port;
  });
  CHECK_FALSE(resets.empty());
  const auto drops = matching(
      lines, "drop", [&](const Json& l) { return l.value("destination_port", 0) == port; });
  REQUIRE_FALSE(drops.empty());
  // Linux 5.17 began to say why.
  CHECK(drops[0]["reason"] == (is_linux(5, 17) ? "NO_SOCKET" : "NOT_SPECIFIED"));
  // Closing is a use as well.
  const auto owners = matching(
      lines, "owner", [&](const Json& l) { return l.value("remote_port", 0) == client_port; });
  REQUIRE(owners.size() == 1);
  CHECK(owners[0]["pid"] != getpid());
  CHECK(owners[0]["first"] == true);
}

TEST_CASE("UDP: first use, counts at the end", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  Recording recording;
  Fd server(::socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const uint16_t port = local_port(server);
  address.sin_port = htons(port);
  const pid_t client = in_child([&] {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM, 0));
    if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 1;
    return send(socket.get(), "abc", 3, 0) == 3 && send(socket.get(), "defg", 4, 0) == 4 ? 0 : 1;
  });
  char text[16];
  REQUIRE(recv(server.get(), text, sizeof text, 0) == 3);
  server.reset();
  const auto lines = recording.lines();
  const auto first =
      matching(lines, "udp", [&](const Json& l) { return l.value("remote_port", 0) == port; });
  REQUIRE(first.size() == 1);
  CHECK(first[0]["pid"] == client);
  CHECK(first[0]["local"] == "127.0.0.1");
  const auto ends =
      matching(lines, "close", [&](const Json& l) { return l["socket"] == first[0]["socket"]; });
  REQUIRE(ends.size() == 1);
  CHECK(ends[0]["sent_bytes"] == 7);
  const auto receiver =
      matching(lines, "udp", [&](const Json& l) { return l.value("local_port", 0) == port; });
  REQUIRE(receiver.size() == 1);
  CHECK(receiver[0]["pid"] == getpid());
  CHECK_FALSE(receiver[0].contains("remote"));
}

TEST_CASE("what was there before the start is in the checkpoint", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  const Listener listener;
  const Fd client = listener.connect();
  const Fd accepted(accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const uint16_t port = local_port(client);
  Recording recording;
  // Used by another process after the start: it changes hands.
  const pid_t heir = in_child([&] { return write(accepted.get(), "x", 1) == 1 ? 0 : 1; });
  const auto lines = recording.lines();
  const auto ours =
      matching(lines, "socket", [&](const Json& l) { return l.value("local_port", 0) == port; });
  REQUIRE(ours.size() == 1);
  CHECK(ours[0]["pid"] == getpid());
  CHECK(ours[0]["state"] == "open");
  const auto listens = matching(lines, "socket", [&](const Json& l) {
    return l.value("local_port", 0) == listener.port && l["state"] == "listen";
  });
  REQUIRE(listens.size() == 1);
  CHECK(listens[0]["pid"] == getpid());
  const auto owners =
      matching(lines, "owner", [&](const Json& l) { return l.value("remote_port", 0) == port; });
  REQUIRE(owners.size() == 1);
  CHECK(owners[0]["pid"] == heir);
  CHECK_FALSE(owners[0].contains("first"));
  const auto other =
      matching(lines, "socket", [&](const Json& l) { return l.value("remote_port", 0) == port; });
  REQUIRE(other.size() == 1);
  CHECK(other[0]["socket"] == owners[0]["socket"]);
}

TEST_CASE("what a ring buffer that is too small loses is counted and told", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  Recording recording(4096);
  const int64_t before = recording.begun_ns;
  for (int round = 0; round < 100 && recording.observer->status().lost == 0; ++round)
    in_child([] {
      sockaddr_in nobody{};
      nobody.sin_family = AF_INET;
      nobody.sin_port = htons(9);
      nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      for (int i = 0; i < 5000; ++i) {
        const int fd = socket(AF_INET, SOCK_DGRAM, 0);
        (void)sendto(fd, "x", 1, 0, reinterpret_cast<const sockaddr*>(&nobody), sizeof nobody);
        close(fd);
      }
      return 0;
    });
  REQUIRE(recording.observer->status().lost > 0);
  const auto lines = recording.lines();
  uint64_t told = 0;
  for (const auto& line : matching(
           lines, "lost", [](const Json& l) { return l["reason"] == "the ring buffer was full"; }))
    told += line["count"].get<uint64_t>();
  CHECK(told > 0);
  const TimeWindow all{before, Clock::system().realtime_ns() + 1};
  CHECK(recording.observer->lost_in(all) >= told);
  CHECK(recording.observer->lost_in(all) == recording.observer->status().lost);
  CHECK(recording.observer->lost_in({before - kNsPerSecond, before - 1}) == 0);
}
