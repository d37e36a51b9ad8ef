#include "lookback/context/owners.hpp"

#include <catch2/catch.hpp>

using namespace lookback;
using namespace lookback::context;

namespace {

constexpr int64_t kSecond = 1'000'000'000, kMs = 1'000'000;

/// Applies a line as an archive has it.
void feed(OwnerTable& table, const std::string& line) {
  const auto record = parse_record(line);
  INFO(line);
  REQUIRE(record.has_value());
  table.apply(*record);
}

std::string at(int64_t time_ns, const std::string& kind, const std::string& rest) {
  return "{\"kind\":\"" + kind + "\",\"time\":" + std::to_string(time_ns) + "," + rest + "}";
}
std::string ends(int socket, const std::string& local, int local_port, const std::string& remote,
                 int remote_port, int netns = 1, const std::string& protocol = "tcp") {
  std::string text = "\"socket\":" + std::to_string(socket) + ",\"protocol\":\"" + protocol +
                     "\",\"netns\":" + std::to_string(netns) + ",\"local\":\"" + local +
                     "\",\"local_port\":" + std::to_string(local_port);
  if (!remote.empty())
    text += ",\"remote\":\"" + remote + "\",\"remote_port\":" + std::to_string(remote_port);
  return text;
}
std::string pid(int number, const std::string& comm, int cgroup = 0) {
  return ",\"pid\":" + std::to_string(number) + ",\"tid\":" + std::to_string(number + 1) +
         ",\"uid\":0,\"comm\":\"" + comm + "\",\"cgroup\":" + std::to_string(cgroup);
}

struct Asked {
  OwnerTable& table;
  uint8_t protocol = 6;

  /// "comm pid" of who had the local end; "" where nobody is known.
  std::string operator()(int64_t time_ns, const std::string& local, int local_port,
                         const std::string& remote, int remote_port, bool opens = false,
                         uint64_t netns = 0, const std::string& interface = "") {
    Query query;
    query.interface = interface;
    query.protocol = protocol;
    query.local = *parse_address(local);
    query.remote = *parse_address(remote);
    query.local_port = static_cast<uint16_t>(local_port);
    query.remote_port = static_cast<uint16_t>(remote_port);
    query.time_ns = time_ns;
    query.opens = opens;
    query.netns = netns;
    const auto socket = table.find(query);
    const Owner* owner = socket ? socket->owner_at(time_ns) : nullptr;
    return owner == nullptr ? "" : owner->comm + " " + std::to_string(owner->pid);
  }
};

}  // namespace

TEST_CASE("a client's socket from connect to close", "[context]") {
  OwnerTable table;
  Asked who{table};
  const std::string tuple = ends(1, "10.0.0.1", 40000, "10.0.0.2", 80);
  feed(table, at(kSecond, "connect", tuple + pid(10, "curl")));
  feed(table, at(2 * kSecond, "close", tuple + pid(10, "curl")));
  CHECK(who(kSecond + 50'000, "10.0.0.1", 40000, "10.0.0.2", 80, true) == "curl 10");
  CHECK(who(kSecond + 5 * kMs, "10.0.0.1", 40000, "10.0.0.2", 80) == "curl 10");
  CHECK(who(2 * kSecond + 5 * kMs, "10.0.0.1", 40000, "10.0.0.2", 80) == "curl 10");  // last ACKs
  CHECK(who(kSecond + 5 * kMs, "10.0.0.2", 80, "10.0.0.1", 40000) == "");
  CHECK(who(kSecond + 5 * kMs, "10.0.0.1", 40000, "10.0.0.2", 81) == "");
  CHECK(who(100 * kSecond, "10.0.0.1", 40000, "10.0.0.2", 80) == "");
}

TEST_CASE("ports used again within a second are told apart", "[context]") {
  OwnerTable table;
  Asked who{table};
  for (int i = 0; i < 5; ++i) {
    const int64_t start = kSecond + i * 2 * kMs;
    const std::string client = ends(10 + i, "127.0.0.1", 41000, "127.0.0.1", 80),
                      server = ends(20 + i, "127.0.0.1", 80, "127.0.0.1", 41000);
    feed(table, at(start, "connect", client + pid(100 + i, "c" + std::to_string(i))));
    feed(table, at(start + 100'000, "accept", server + ",\"listener_pid\":5"));
    feed(table, at(start + 900'000, "owner",
                   server + ",\"first\":true" + pid(200 + i, "s" + std::to_string(i))));
    feed(table, at(start + kMs, "close", client));
    feed(table, at(start + kMs, "close", server));
  }
  for (int i = 0; i < 5; ++i) {
    const int64_t syn = kSecond + i * 2 * kMs + 20'000;
    INFO(i);
    const std::string n = std::to_string(i);
    CHECK(who(syn, "127.0.0.1", 41000, "127.0.0.1", 80, true) == "c" + n + " 10" + n);
    CHECK(who(syn, "127.0.0.1", 80, "127.0.0.1", 41000, true) == "s" + n + " 20" + n);
    CHECK(who(syn + 500'000, "127.0.0.1", 80, "127.0.0.1", 41000) == "s" + n + " 20" + n);
  }
}

TEST_CASE("an attempt that finds its port taken has no packets", "[context]") {
  OwnerTable table;
  Asked who{table};
  feed(table, at(kSecond, "connect", ends(1, "10.0.0.1", 41000, "10.0.0.2", 80) + pid(1, "first")));
  feed(table, at(kSecond + 4000, "connect",
                 ends(2, "10.0.0.1", 41000, "10.0.0.2", 80) + pid(2, "second")));
  feed(table, at(kSecond + 50'000, "close", ends(2, "10.0.0.1", 41000, "10.0.0.2", 80)));
  feed(table, at(kSecond + 5 * kMs, "close", ends(1, "10.0.0.1", 41000, "10.0.0.2", 80)));
  CHECK(who(kSecond + 8000, "10.0.0.1", 41000, "10.0.0.2", 80, true) == "first 1");
  CHECK(who(kSecond + 8000, "10.0.0.1", 41000, "10.0.0.2", 80) == "first 1");
}

TEST_CASE("accepted sockets belong to who accepts them, others to the listener", "[context]") {
  OwnerTable table;
  Asked who{table};
  feed(table, at(kSecond, "listen", ends(1, "::", 80, "", 0) + pid(5, "master")));
  const std::string tuple = ends(2, "fd00::1", 80, "fd00::2", 40000);
  feed(table, at(2 * kSecond, "accept", tuple + ",\"listener_pid\":5"));
  CHECK(who(2 * kSecond, "fd00::1", 80, "fd00::2", 40000) == "");  // nobody has it yet
  feed(table, at(3 * kSecond, "owner", tuple + ",\"first\":true" + pid(6, "worker")));
  CHECK(who(2 * kSecond - 10 * kMs, "fd00::1", 80, "fd00::2", 40000, true) == "worker 6");
  CHECK(who(2 * kSecond, "fd00::1", 80, "fd00::2", 40000) == "worker 6");
  CHECK(who(2 * kSecond, "fd00::1", 80, "fd00::2", 40001, true) == "master 5");
  CHECK(who(2 * kSecond, "fd00::1", 80, "fd00::2", 40001) == "");
  CHECK(who(2 * kSecond, "10.0.0.1", 80, "10.0.0.2", 40001, true) == "master 5");
  CHECK(who(2 * kSecond, "10.0.0.1", 81, "10.0.0.2", 40001, true) == "");
}

TEST_CASE("a socket that is passed on, and a process that becomes another program", "[context]") {
  OwnerTable table;
  Asked who{table};
  feed(table,
       at(1, "cgroup", "\"id\":7,\"container\":\"abc\",\"runtime\":\"docker\",\"name\":\"web\""));
  feed(table, at(1, "process", "\"pid\":10,\"ppid\":1,\"comm\":\"inetd\",\"exe\":\"/sbin/inetd\""));
  const std::string tuple = ends(1, "10.0.0.1", 23, "10.0.0.2", 40000);
  feed(table, at(kSecond, "accept", tuple));
  feed(table, at(kSecond + kMs, "owner", tuple + ",\"first\":true" + pid(10, "inetd")));
  feed(table, at(2 * kSecond, "fork", "\"pid\":11,\"ppid\":10,\"comm\":\"inetd\",\"cgroup\":7"));
  feed(table, at(3 * kSecond, "owner", tuple + pid(11, "inetd", 7)));
  feed(table,
       at(4 * kSecond, "exec",
          "\"pid\":11,\"ppid\":10,\"comm\":\"telnetd\",\"exe\":\"/sbin/telnetd\",\"cgroup\":7"));
  CHECK(who(kSecond, "10.0.0.1", 23, "10.0.0.2", 40000) == "inetd 10");
  CHECK(who(3 * kSecond + kMs, "10.0.0.1", 23, "10.0.0.2", 40000) == "inetd 11");
  CHECK(who(5 * kSecond, "10.0.0.1", 23, "10.0.0.2", 40000) == "telnetd 11");
  Query query{
      6, *parse_address("10.0.0.1"), *parse_address("10.0.0.2"), 23, 40000, 5 * kSecond, false, 0,
      {}};
  const auto socket = table.find(query);
  REQUIRE(socket);
  const Owner* owner = socket->owner_at(5 * kSecond);
  CHECK(owner->exe == "/sbin/telnetd");
  REQUIRE(owner->container);
  CHECK(owner->container->name == "web");
  CHECK(socket->owner_at(3 * kSecond)->exe == "/sbin/inetd");  // its parent's until the exec
}

TEST_CASE("UDP sockets by both ends, by their own, and by their port", "[context]") {
  OwnerTable table;
  Asked who{table, 17};
  feed(table,
       at(kSecond, "udp", ends(1, "10.0.0.1", 50000, "10.0.0.53", 53, 1, "udp") + pid(1, "dig")));
  feed(table, at(kSecond, "udp", ends(2, "10.0.0.1", 53, "", 0, 1, "udp") + pid(2, "named")));
  feed(table, at(kSecond, "udp", ends(3, "0.0.0.0", 123, "", 0, 1, "udp") + pid(3, "ntpd")));
  CHECK(who(2 * kSecond, "10.0.0.1", 50000, "10.0.0.53", 53) == "dig 1");
  CHECK(who(2 * kSecond, "10.0.0.1", 53, "10.0.0.9", 999) == "named 2");
  CHECK(who(2 * kSecond, "10.0.0.2", 53, "10.0.0.9", 999) == "");
  CHECK(who(2 * kSecond, "10.9.0.1", 123, "10.0.0.9", 123) == "ntpd 3");
  feed(table, at(3 * kSecond, "close", ends(3, "0.0.0.0", 123, "", 0, 1, "udp")));
  feed(table, at(4 * kSecond, "udp", ends(4, "0.0.0.0", 123, "", 0, 1, "udp") + pid(4, "chronyd")));
  CHECK(who(2 * kSecond, "10.9.0.1", 123, "10.0.0.9", 123) == "ntpd 3");
  CHECK(who(5 * kSecond, "10.9.0.1", 123, "10.0.0.9", 123) == "chronyd 4");
}

TEST_CASE("ping sockets by the identifier of their echoes, raw ones where there is only one", "[context]") {
  OwnerTable table;
  Asked who{table, 1};
  const auto raw = [](int socket, const std::string& local, int identifier, int protocol = 1) {
    return "\"socket\":" + std::to_string(socket) + ",\"protocol\":" + std::to_string(protocol) + ",\"netns\":1,\"local\":\"" + local +
           "\",\"local_port\":" + std::to_string(identifier);
  };
  feed(table, at(kSecond, "raw", raw(1, "0.0.0.0", 77) + pid(1, "ping")));
  CHECK(who(2 * kSecond, "10.0.0.1", 77, "10.0.0.2", 77) == "ping 1");
  CHECK(who(2 * kSecond, "10.0.0.1", 78, "10.0.0.2", 78) == "");
  feed(table, at(2 * kSecond, "raw", raw(2, "0.0.0.0", 0) + pid(2, "fping")));
  CHECK(who(3 * kSecond, "10.0.0.1", 77, "10.0.0.2", 77) == "ping 1");
  CHECK(who(3 * kSecond, "10.0.0.1", 78, "10.0.0.2", 78) == "fping 2");
  CHECK(who(3 * kSecond, "10.0.0.1", 0, "10.0.0.2", 0) == "fping 2");
  CHECK(table.ambiguous() == 0);
  // Of another protocol, and one long before.
  CHECK(Asked{table, 58}(3 * kSecond, "fd00::1", 78, "fd00::2", 78) == "");
  CHECK(who(kSecond / 2, "10.0.0.1", 78, "10.0.0.2", 78) == "");
  // Two raw ones: any of them may have sent it.
  feed(table, at(4 * kSecond, "raw", raw(3, "0.0.0.0", 0) + pid(3, "nmap")));
  CHECK(who(5 * kSecond, "10.0.0.1", 78, "10.0.0.2", 78) == "");
  CHECK(table.ambiguous() == 1);
  CHECK(who(5 * kSecond, "10.0.0.1", 77, "10.0.0.2", 77) == "ping 1");
  feed(table, at(6 * kSecond, "close", raw(3, "0.0.0.0", 0)));
  CHECK(who(7 * kSecond, "10.0.0.1", 78, "10.0.0.2", 78) == "fping 2");
}

TEST_CASE("the same ends in two namespaces give no answer, unless the namespace is known",
          "[context]") {
  OwnerTable table;
  Asked who{table};
  feed(table,
       at(kSecond, "connect", ends(1, "127.0.0.1", 40000, "127.0.0.1", 80, 1) + pid(1, "a")));
  feed(table,
       at(kSecond, "connect", ends(2, "127.0.0.1", 40000, "127.0.0.1", 80, 2) + pid(2, "b")));
  CHECK(who(2 * kSecond, "127.0.0.1", 40000, "127.0.0.1", 80) == "");
  CHECK(table.ambiguous() == 1);
  CHECK(who(2 * kSecond, "127.0.0.1", 40000, "127.0.0.1", 80, false, 2) == "b 2");
  feed(table, at(3 * kSecond, "close", ends(1, "127.0.0.1", 40000, "127.0.0.1", 80, 1)));
  CHECK(who(4 * kSecond, "127.0.0.1", 40000, "127.0.0.1", 80) == "b 2");
}

TEST_CASE("an interface tells which of two namespaces is meant", "[context]") {
  OwnerTable table;
  Asked who{table};
  const auto both = [&](int first_socket, const std::string& local, const std::string& remote) {
    for (int netns = 1; netns <= 3; ++netns)
      feed(table, at(kSecond, "connect",
                     ends(first_socket + netns, local, 40000, remote, 80, netns) +
                         pid(netns * 10, "of" + std::to_string(netns))));
  };
  both(0, "10.0.0.1", "10.0.0.2");
  both(10, "127.0.0.1", "127.0.0.1");
  const auto ask = [&](const std::string& interface, const std::string& local = "10.0.0.1",
                       const std::string& remote = "10.0.0.2") {
    return who(2 * kSecond, local, 40000, remote, 80, false, 0, interface);
  };
  const auto interface = [&](const std::string& name, const std::string& rest) {
    feed(table, at(kSecond, "interface", "\"netns\":1,\"name\":\"" + name + "\"," + rest));
  };
  CHECK(ask("eth0") == "");  // nothing is known of it
  interface("eth0", R"("interface":2,"addresses":["10.0.0.1","fe80::1"])");
  interface("br0", R"("interface":3,"addresses":["10.9.9.9"])");
  interface("veth2", R"("interface":4,"peer_netns":2,"addresses":["10.0.0.1"])");
  interface("veth4", R"("interface":5,"peer_netns":4,"addresses":[])");
  interface("lo", R"("interface":1,"loopback":true,"addresses":["127.0.0.1","::1"])");
  CHECK(ask("eth0") == "of1 10");
  CHECK(ask("br0") == "");  // a port of it may be anybody's
  CHECK(ask("veth2") == "of2 20");
  CHECK(ask("veth4") == "");
  CHECK(ask("") == "");
  CHECK(ask("lo", "127.0.0.1", "127.0.0.1") == "of1 10");
  // Nobody else's packets pass there, even where nothing is known of those that do.
  feed(table,
       at(kSecond, "connect", ends(30, "127.0.0.1", 50000, "127.0.0.1", 80, 2) + pid(77, "other")));
  CHECK(who(2 * kSecond, "127.0.0.1", 50000, "127.0.0.1", 80, false, 0, "lo") == "");
  // It became somebody else's.
  interface("veth2", R"("interface":9,"peer_netns":3,"addresses":[])");
  CHECK(ask("veth2") == "of3 30");
}

TEST_CASE("a SYN is of the namespace where somebody has just begun to connect", "[context]") {
  OwnerTable table;
  Asked who{table};
  const auto connect = [&](int64_t time_ns, int netns) {
    feed(table, at(time_ns, "connect",
                   ends(netns, "10.0.0.1", 40000, "10.0.0.2", 80, netns) +
                       pid(netns * 10, "of" + std::to_string(netns))));
  };
  connect(kSecond, 1);
  connect(kSecond + 50 * kMs, 2);
  const auto ask = [&](int64_t time_ns, bool opens) {
    return who(time_ns, "10.0.0.1", 40000, "10.0.0.2", 80, opens);
  };
  CHECK(ask(kSecond + 20'000, true) == "of1 10");
  CHECK(ask(kSecond + 50 * kMs + 20'000, true) == "of2 20");
  CHECK(ask(kSecond + 50 * kMs + 20'000, false) == "");
  // Neither began just now: the SYN may be anybody's second attempt.
  CHECK(ask(2 * kSecond, true) == "");
}

TEST_CASE("a socket bound to any address has only its host's", "[context]") {
  OwnerTable table;
  Asked who{table, 17};
  for (int netns = 1; netns <= 3; ++netns)
    feed(table, at(kSecond, "udp",
                   ends(netns, "0.0.0.0", 53, "", 0, netns, "udp") +
                       pid(netns * 10, "dns" + std::to_string(netns))));
  const auto ask = [&](const std::string& local) {
    return who(2 * kSecond, local, 53, "10.0.0.99", 4000);
  };
  CHECK(ask("10.0.0.2") == "");
  const auto network = [&](int netns, const std::string& addresses) {
    feed(table, at(kSecond, "network",
                   "\"netns\":" + std::to_string(netns) + ",\"addresses\":[" + addresses + "]"));
  };
  network(1, R"("127.0.0.1","10.0.0.1","fd00::1")");
  network(2, R"("127.0.0.1","10.0.0.2")");
  network(3, R"("127.0.0.1","10.0.0.3")");
  CHECK(ask("10.0.0.1") == "dns1 10");
  CHECK(ask("10.0.0.2") == "dns2 20");
  CHECK(ask("10.0.0.3") == "dns3 30");
  CHECK(ask("8.8.8.8") == "");    // somebody else's server
  CHECK(ask("127.0.0.1") == "");  // everybody's
  CHECK(ask("224.0.0.251") == "");
  network(3, R"("10.0.0.4")");
  CHECK(ask("10.0.0.3") == "");
  CHECK(ask("10.0.0.4") == "dns3 30");
}

TEST_CASE("any of IPv4 and any of IPv6 are different", "[context]") {
  const std::string protocol = GENERATE("udp", "tcp");
  const bool opens = protocol == "tcp";
  OwnerTable table;
  Asked who{table, static_cast<uint8_t>(opens ? 6 : 17)};
  const std::string kind = opens ? "listen" : "udp";
  const auto ask = [&](const std::string& local, const std::string& remote) {
    return who(2 * kSecond, local, 5353, remote, 4000, opens);
  };
  const auto open = [&](int number, const std::string& local, const std::string& name,
                        const std::string& more = "") {
    feed(table, at(kSecond, kind, ends(number, local, 5353, "", 0, 1, protocol) + more +
                                      pid(number, name)));
  };
  SECTION("one of each on one port") {
    const bool told = GENERATE(false, true);  // older recorders do not say which is for IPv6 alone
    open(4, "0.0.0.0", "four");
    open(6, "::", "six", told ? ",\"v6only\":true" : "");
    CHECK(ask("10.0.0.1", "10.0.0.2") == "four 4");
    CHECK(ask("fd00::1", "fd00::2") == "six 6");
  }
  SECTION("IPv6 alone") {
    open(6, "::", "six", ",\"v6only\":true");
    CHECK(ask("10.0.0.1", "10.0.0.2") == "");
    CHECK(ask("fd00::1", "fd00::2") == "six 6");
  }
  SECTION("both by one socket") {
    open(6, "::", "dual");
    CHECK(ask("10.0.0.1", "10.0.0.2") == "dual 6");
    CHECK(ask("fd00::1", "fd00::2") == "dual 6");
  }
  SECTION("IPv4 alone") {
    open(4, "0.0.0.0", "four");
    CHECK(ask("10.0.0.1", "10.0.0.2") == "four 4");
    CHECK(ask("fd00::1", "fd00::2") == "");
  }
}

TEST_CASE("of processes that share a port none is named", "[context]") {
  OwnerTable table;
  Asked udp{table, 17}, tcp{table, 6};
  const std::string any = ends(1, "0.0.0.0", 53, "", 0, 1, "udp");
  feed(table, at(kSecond, "udp", any + pid(1, "one")));
  CHECK(udp(kSecond, "10.0.0.1", 53, "10.0.0.2", 4000) == "one 1");
  SECTION("UDP") {
    // Told of with its first use, it may have been there for long.
    feed(table, at(3 * kSecond, "udp", ends(2, "0.0.0.0", 53, "", 0, 1, "udp") + pid(2, "two")));
    CHECK(udp(3 * kSecond - 50'000, "10.0.0.1", 53, "10.0.0.2", 4001) == "");
    CHECK(udp(4 * kSecond, "10.0.0.1", 53, "10.0.0.2", 4001) == "");
    CHECK(table.ambiguous() == 2);
    feed(table, at(5 * kSecond, "close", ends(2, "0.0.0.0", 53, "", 0, 1, "udp")));
    CHECK(udp(6 * kSecond, "10.0.0.1", 53, "10.0.0.2", 4001) == "one 1");
  }
  SECTION("UDP, both of one process") {
    feed(table, at(3 * kSecond, "udp", ends(2, "0.0.0.0", 53, "", 0, 1, "udp") + pid(1, "one")));
    CHECK(udp(4 * kSecond, "10.0.0.1", 53, "10.0.0.2", 4001) == "one 1");
  }
  SECTION("one after the other") {
    feed(table, at(2 * kSecond, "close", any));
    feed(table, at(3 * kSecond, "udp", ends(2, "0.0.0.0", 53, "", 0, 1, "udp") + pid(2, "two")));
    CHECK(udp(kSecond + kMs, "10.0.0.1", 53, "10.0.0.2", 4001) == "one 1");
    CHECK(udp(4 * kSecond, "10.0.0.1", 53, "10.0.0.2", 4001) == "two 2");
  }
  SECTION("TCP: listeners, not what they accept") {
    for (int n = 5; n <= 6; ++n)
      feed(table, at(kSecond, "listen", ends(n, "0.0.0.0", 80, "", 0) + pid(n, "web")));
    CHECK(tcp(2 * kSecond, "10.0.0.1", 80, "10.0.0.2", 4000, true) == "");
    const std::string tuple = ends(7, "10.0.0.1", 80, "10.0.0.2", 4000);
    feed(table, at(2 * kSecond, "accept", tuple));
    feed(table, at(2 * kSecond + kMs, "owner", tuple + ",\"first\":true" + pid(6, "web")));
    CHECK(tcp(2 * kSecond, "10.0.0.1", 80, "10.0.0.2", 4000, true) == "web 6");
    CHECK(tcp(3 * kSecond, "10.0.0.1", 80, "10.0.0.2", 4000) == "web 6");
  }
}

TEST_CASE("who serves is known by how its socket began, or by who listens", "[context]") {
  OwnerTable table;
  feed(table, at(kSecond, "checkpoint", "\"version\":1,\"sockets\":3"));
  feed(table, at(kSecond, "socket", "\"state\":\"listen\"," + ends(1, "::", 80, "", 0) + pid(1, "web")));
  feed(table, at(kSecond, "socket",
                 "\"state\":\"open\"," + ends(2, "10.0.0.1", 80, "10.0.0.2", 4000) + pid(1, "web")));
  feed(table, at(kSecond, "socket",
                 "\"state\":\"open\"," + ends(3, "10.0.0.1", 4001, "10.0.0.3", 80) + pid(1, "web")));
  feed(table, at(kSecond, "accept", ends(4, "10.0.0.1", 90, "10.0.0.2", 5000) + pid(1, "web")));
  feed(table, at(kSecond, "connect", ends(5, "10.0.0.1", 80, "10.0.0.9", 5000) + pid(1, "web")));
  const auto serves = [&](int local_port, const std::string& remote, int remote_port) {
    Query query;
    query.protocol = 6;
    query.local = *parse_address("10.0.0.1");
    query.remote = *parse_address(remote);
    query.local_port = static_cast<uint16_t>(local_port);
    query.remote_port = static_cast<uint16_t>(remote_port);
    query.time_ns = 2 * kSecond;
    return table.serves(query, table.find(query).get());
  };
  CHECK(serves(80, "10.0.0.2", 4000));
  CHECK_FALSE(serves(4001, "10.0.0.3", 80));
  CHECK(serves(90, "10.0.0.2", 5000));
  CHECK_FALSE(serves(80, "10.0.0.9", 5000));
}

TEST_CASE("work is linear in the events", "[context]") {
  OwnerTable table;
  Record record;
  record.protocol = 6;
  record.netns = 1;
  record.pid = 7;
  SECTION("checkpoints beside many sockets") {
    for (uint32_t i = 0; i < 200'000; ++i) {
      record.kind = Kind::connect;
      record.time_ns = kSecond;
      record.socket = i + 1;
      record.local_port = static_cast<uint16_t>(i);
      record.remote_port = static_cast<uint16_t>(i >> 16 | 1);
      record.has_remote = true;
      table.apply(record);
    }
    record.kind = Kind::checkpoint;
    record.sockets = UINT64_MAX;  // they never all come
    for (int i = 0; i < 200'000; ++i) table.apply(record);
    record.sockets = 0;
    for (int i = 0; i < 200'000; ++i) table.apply(record);
    CHECK(table.sockets() == 200'000);
  }
  SECTION("a process with many sockets that becomes others all the time") {
    for (uint32_t i = 0; i < 200'000; ++i) {
      record.kind = Kind::connect;
      record.time_ns = kSecond + i;
      record.socket = i + 1;
      record.local_port = static_cast<uint16_t>(i);
      record.remote_port = static_cast<uint16_t>(i >> 16 | 1);
      record.has_remote = true;
      table.apply(record);
      record.kind = Kind::exec;
      table.apply(record);
    }
    CHECK(table.sockets() == 200'000);
  }
  SECTION("many sockets of the same ends") {
    for (uint32_t i = 0; i < 200'000; ++i) {
      record.kind = Kind::udp;
      record.protocol = 17;
      record.socket = i + 1;
      record.local_port = 53;
      table.apply(record);
      if (i % 2 == 0) {
        record.kind = Kind::close;
        table.apply(record);
      }
    }
    CHECK(table.sockets() <= OwnerTable::kMostSameEnds);
    CHECK(table.refused() > 0);
    Asked who{table, 17};
    CHECK(who(0, "10.0.0.1", 53, "10.0.0.2", 1000) == "");
  }
}

TEST_CASE("what is kept of owners is bounded, and who finds no room is not named", "[context]") {
  OwnerTable table;
  Asked who{table, 17};
  Record record;
  record.protocol = 17;
  record.netns = 1;
  record.local_port = 53;
  const auto apply = [&](Kind kind, uint64_t number) {
    record.kind = kind;
    record.time_ns = kSecond + static_cast<int64_t>(number);
    table.apply(record);
  };
  const auto name = [](uint64_t number) { return std::to_string(number) + std::string(60'000, 'x'); };
  SECTION("programs that sockets change hands among") {
    for (uint64_t i = 1; i < 8'000; ++i) {
      record.socket = i % 4 + 1;
      record.local_port = static_cast<uint16_t>(record.socket);
      record.pid = static_cast<uint32_t>(i);
      record.comm = name(i);
      apply(i <= 4 ? Kind::udp : Kind::owner, i);
      REQUIRE(table.held_bytes() <= OwnerTable::kMostBytes);
    }
    CHECK(table.refused() > 0);
    for (uint16_t port = 1; port <= 4; ++port) CHECK(who(2 * kSecond, "10.0.0.1", port, "10.0.0.2", 1000).empty());
  }
  SECTION("programs that a process becomes") {
    record.pid = 7;
    for (uint64_t i = 0; i < 8'000; ++i) {
      record.exe = name(i);
      apply(Kind::exec, i);
      REQUIRE(table.held_bytes() <= OwnerTable::kMostBytes);
    }
  }
  SECTION("processes") {
    for (uint64_t i = 1; i < 8'000; ++i) {
      record.pid = static_cast<uint32_t>(i);
      record.exe = name(i);
      apply(Kind::process, i);
    }
    CHECK(table.held_bytes() > OwnerTable::kMostBytes / 2);
    CHECK(table.refused() > 0);
    for (uint64_t i = 1; i < 8'000; ++i) {
      record.pid = static_cast<uint32_t>(i);
      record.exe = "/bin/x";
      apply(Kind::process, i);
    }
    CHECK(table.held_bytes() < 8 << 20);
  }
  SECTION("containers, addresses and interfaces") {
    record.addresses.resize(4'000);
    for (uint64_t i = 1; i < 8'000; ++i) {
      record.cgroup = record.netns = i;
      record.container = record.name = name(i);
      apply(i % 3 == 0 ? Kind::cgroup : i % 3 == 1 ? Kind::network : Kind::interface, i);
      REQUIRE(table.held_bytes() <= OwnerTable::kMostBytes);
    }
    CHECK(table.refused() > 0);
  }
}

TEST_CASE("a checkpoint tells what was there, and ends what is gone", "[context]") {
  OwnerTable table;
  Asked who{table};
  const auto checkpoint = [](int sockets) {
    return "\"version\":1,\"cgroups\":0,\"processes\":0,\"sockets\":" + std::to_string(sockets);
  };
  feed(table, at(kSecond, "checkpoint", checkpoint(2)));
  feed(table, at(kSecond, "socket",
                 "\"state\":\"open\",\"role\":\"client\"," + ends(1, "10.0.0.1", 1, "10.0.0.2", 2) +
                     pid(1, "a")));
  feed(table, at(kSecond, "socket",
                 "\"state\":\"open\",\"opened\":5," + ends(2, "10.0.0.1", 3, "10.0.0.2", 4) +
                     pid(2, "b")));
  CHECK(who(10, "10.0.0.1", 1, "10.0.0.2", 2) == "a 1");
  feed(table, at(50 * kSecond, "checkpoint", checkpoint(1)));
  feed(table, at(50 * kSecond, "socket",
                 "\"state\":\"open\"," + ends(2, "10.0.0.1", 3, "10.0.0.2", 4) + pid(2, "b")));
  CHECK(table.sockets() == 2);
  CHECK(who(49 * kSecond, "10.0.0.1", 1, "10.0.0.2", 2) == "a 1");
  CHECK(who(90 * kSecond, "10.0.0.1", 1, "10.0.0.2", 2) == "");
  CHECK(who(90 * kSecond, "10.0.0.1", 3, "10.0.0.2", 4) == "b 2");
  feed(table, at(300 * kSecond, "checkpoint", checkpoint(0)));
  feed(table, at(800 * kSecond, "connect", ends(9, "10.0.0.1", 1, "10.0.0.2", 2) + pid(9, "z")));
  CHECK(table.sockets() == 1);  // what is long over is forgotten
}

TEST_CASE("lines that are not as documented", "[context]") {
  for (const char* line :
       {"", "x", "[]", "{}", "{\"kind\":\"owner\"}", "{\"kind\":1,\"time\":1}",
        "{\"kind\":\"owner\",\"time\":\"now\"}", "{\"kind\":\"owner\",\"time\":1,\"pid\":-1}",
        "{\"kind\":\"owner\",\"time\":1,\"local\":\"10.0.0\"}",
        "{\"kind\":\"owner\",\"time\":1,\"local_port\":65536}",
        "{\"kind\":\"exec\",\"time\":1,\"comm\":[]}"}) {
    INFO(line);
    const auto record = parse_record(line);
    REQUIRE_FALSE(record.has_value());
    CHECK(record.error().kind == ErrorKind::corrupt);
  }
  CHECK(parse_record("{\"kind\":\"of later versions\",\"time\":1,\"pid\":\"x\"}")->kind ==
        Kind::other);
  CHECK(parse_record("{\"kind\":\"exec\",\"time\":1,\"comm\":\"" + std::string(9000, 'x') + "\"}")
            ->comm.size() == kMaxText);
  CHECK_FALSE(parse_record(std::string(kMaxLine + 1, ' ')).has_value());
}
