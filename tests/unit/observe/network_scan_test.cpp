#include "observe/network_scan.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "lookback/base/json.hpp"
#include "observe/live_table.hpp"

using namespace lookback;
using namespace lookback::observe;

TEST_CASE("a scan finds this process's network and its interfaces") {
  struct stat own {};
  REQUIRE(stat("/proc/self/ns/net", &own) == 0);
  const auto scan = scan_networks();
  const auto recorders = std::count_if(scan.networks.begin(), scan.networks.end(),
                                       [](const Event& network) { return network.recorder; });
  CHECK(recorders == 1);
  const auto mine = std::find_if(scan.networks.begin(), scan.networks.end(),
                                 [&](const Event& network) { return network.netns == own.st_ino; });
  REQUIRE(mine != scan.networks.end());
  CHECK(mine->recorder);
  const auto lo = std::find_if(scan.interfaces.begin(), scan.interfaces.end(),
                               [](const Event& interface) { return interface.name == "lo"; });
  REQUIRE(lo != scan.interfaces.end());
  CHECK(lo->loopback);
  CHECK(lo->interface != 0);
  CHECK(lo->peer_netns == 0);
  for (const Event& interface : scan.interfaces) CHECK(interface.netns == own.st_ino);
}

TEST_CASE("networks and interfaces are repeated by a checkpoint until they are gone") {
  Event network, interface;
  network.kind = Kind::network;
  network.netns = 5;
  network.recorder = true;
  network.text = "127.0.0.1 fe80::1";
  interface.kind = Kind::interface;
  interface.netns = 5;
  interface.interface = 3;
  interface.name = "veth3";
  interface.peer_netns = 6;
  LiveTable table;
  table.apply(network);
  table.apply(interface);
  const auto lines = [&] {
    std::string text;
    table.checkpoint(7, "boot", [&](const Event& event) { append_json(event, text); });
    return text.substr(text.find('\n') + 1);
  };
  CHECK(lines() ==
        "{\"kind\":\"network\",\"time\":7,\"netns\":5,\"recorder\":true,"
        "\"addresses\":[\"127.0.0.1\",\"fe80::1\"]}\n"
        "{\"kind\":\"interface\",\"time\":7,\"netns\":5,\"interface\":3,\"name\":\"veth3\","
        "\"peer_netns\":6,\"addresses\":[]}\n");
  table.keep_networks({5}, {});
  CHECK(table.interface(3) == nullptr);
  CHECK(table.network(5) != nullptr);
  table.keep_networks({}, {});
  CHECK(lines().empty());
}
