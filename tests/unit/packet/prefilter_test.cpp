#include <catch2/catch.hpp>

#include "lookback/packet/filter.hpp"
#include "lookback/packet/summary.hpp"
#include "unit/packet/support/traffic.hpp"
#include "unit/support/effort.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;
using lookback::test::rounds;

namespace {
std::string tree(std::string_view expression) {
  return Prefilter::of_expression(expression).to_string();
}
}  // namespace

TEST_CASE("what an expression needs is understood") {
  struct Row {
    const char *expression, *needs;
  };
  const Row rows[] = {
      {"host 10.0.0.1", "host 10.0.0.1"},
      {"src 10.0.0.1", "host 10.0.0.1"},
      {"src or dst host 10.0.0.1", "host 10.0.0.1"},
      {"src and dst 10.0.0.1", "host 10.0.0.1"},
      {"dst && src 10.0.0.1", "host 10.0.0.1"},
      {"ip host 10.0.0.1", "host 10.0.0.1"},
      {"ip6 src host fd00::1", "host fd00::1"},
      {"arp dst host 10.0.0.1", "host 10.0.0.1"},
      {"net 10.0.0.0/8", "net 10.0.0.0/8"},
      {"net 192.168", "net 192.168.0.0/16"},
      {"src net 192.168.1", "net 192.168.1.0/24"},
      {"net fd00::/8", "net fd00::/8"},
      {"port 80", "port 80"},
      {"tcp dst port 80", "port 80"},
      {"udp portrange 50-60", "portrange 50-60"},
      {"portrange 60-50", "portrange 50-60"},
      {"portrange 7", "port 7"},
      {"port 80 or 443", "(port 80 or port 443)"},
      {"tcp port 80 or 443 or 8080", "(port 80 or port 443 or port 8080)"},
      {"port 80 || (443 or 8080)", "(port 80 or port 443 or port 8080)"},
      {"port (80 or 443)", "(port 80 or port 443)"},
      {"host (10.0.0.1 and 10.0.0.2)", "(host 10.0.0.1 and host 10.0.0.2)"},
      {"host 10.0.0.1 and 10.0.0.2", "(host 10.0.0.1 and host 10.0.0.2)"},
      {"src host 10.0.0.1 or port 80 or 443", "(host 10.0.0.1 or port 80 or port 443)"},
      {"host 10.0.0.1 and not port 22", "host 10.0.0.1"},
      {"not port 22 and host 10.0.0.1", "host 10.0.0.1"},
      {"host 10.0.0.1 and !(port 22 or port 23) and tcp", "host 10.0.0.1"},
      {"tcp and port 80", "port 80"},
      {"(tcp or udp) and port 53", "port 53"},
      // Equal precedence, to the left.
      {"port 1 or port 2 and port 3", "((port 1 or port 2) and port 3)"},
      {"port 1 and port 2 or port 3", "((port 1 and port 2) or port 3)"},
      {"port 1 or (port 2 and port 3)", "(port 1 or (port 2 and port 3))"},
      {"tcp or port 2 and port 3", "port 3"},
      // Not understood, but it ends where it ends.
      {"tcp[tcpflags] & tcp-syn != 0 and host 10.0.0.1", "host 10.0.0.1"},
      {"(tcp[12] & 0xf0) >> 2 > 5 && port 80", "port 80"},
      {"ip[(ip[0] & 0xf) << 2] = 3 and port 80", "port 80"},
      {"len > 100 and port 80", "port 80"},
      {"ether host 02:00:00:00:00:01 and port 80", "port 80"},
      {"ether src or dst 02:00:00:00:00:01 and port 80", "port 80"},
      {"ip proto \\tcp and port 80", "port 80"},
      {"host web-1 and port 80", "port 80"},
      {"port http and host 10.0.0.1", "host 10.0.0.1"},
      {"gateway 10.0.0.1 and port 80", "port 80"},
      {"less 100 and host 10.0.0.1", "host 10.0.0.1"},
      {"net 10.0.0.0 mask 255.0.0.0 and port 80", "port 80"},
      {"decnet src and dst 10.15 and port 80", "port 80"},
      {"", "anything"},
      {"tcp", "anything"},
      {"not host 10.0.0.1", "anything"},
      {"host 10.0.0.1 or tcp", "anything"},
      {"host 10.0.0.1 or not port 80", "anything"},
      {"host web-1", "anything"},
      {"host 10.1", "anything"},
      {"net 10", "anything"},
      {"net ::/0", "anything"},
      {"net ::ffff:0:0/96", "anything"},
      {"port 010", "anything"},
      {"port 0x50", "anything"},
      {"port 99999", "anything"},
      {"vlan and host 10.0.0.1", "anything"},
      {"host 10.0.0.1 and vlan 3", "anything"},
      {"mpls and port 80", "anything"},
      {"pppoes and host 10.0.0.1", "anything"},
      {"geneve and host 10.0.0.1", "anything"},
      {"gateway 10.0.0.1", "anything"},
      {"ip proto 17 or 6", "anything"},
      {"host 10.0.0.1 and (port 80", "anything"},
      {"host 10.0.0.1)", "anything"},
      {"host 10.0.0.1 port 80", "anything"},
      {"host 10.0.0.1 and", "host 10.0.0.1"},
      {"host 10.0.0.1 @ port 80", "anything"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.expression);
    CHECK(tree(row.expression) == row.needs);
  }
  CHECK(tree(std::string(100000, '(') + "host 10.0.0.1") == "anything");
  std::string nots;
  for (int i = 0; i < 20000; ++i) nots += "not ";
  CHECK(tree(nots + "host 10.0.0.1") == "anything");
  std::string many = "host 10.0.0.1";
  for (int i = 0; i < 2000; ++i) many += " or 10.0.0.1";
  CHECK_FALSE(Prefilter::of_expression(many).matches_anything());
}

TEST_CASE("networks of an export need one of them") {
  const std::vector<Cidr> networks = {Cidr::parse("10.0.0.0/8").value(),
                                      Cidr::parse("fd00::1").value()};
  const Prefilter prefilter = Prefilter::of_networks(networks);
  CHECK(prefilter.to_string() == "(net 10.0.0.0/8 or host fd00::1)");
  CHECK(Prefilter::of_networks({}).matches_anything());
  SummaryBuilder builder;
  builder.add(decode(1, view(ethernet(0x0800, ipv4("10.1.1.1", "8.8.8.8", 6, tcp(1, 2))))));
  CHECK(prefilter.may_match(builder.take()));
  builder.add(decode(1, view(ethernet(0x0800, ipv4("11.1.1.1", "8.8.8.8", 6, tcp(1, 2))))));
  CHECK_FALSE(prefilter.may_match(builder.take()));
  CHECK(prefilter.may_match(Summary()));
}

TEST_CASE("no frame that holds a match is ever skipped") {
  size_t compiled = 0, selective = 0, skipped = 0, frames = 0;
  Traffic traffic(11);
  std::mt19937 random(12);
  std::vector<std::string> expressions = common_expressions();
  for (int i = 0; i < rounds(6000); ++i) expressions.push_back(traffic.expression());
  constexpr uint16_t kLinkTypes[] = {1, 1, 1, 113, 276, 101, 0};
  for (const std::string& expression : expressions) {
    const uint16_t link_type = kLinkTypes[random() % std::size(kLinkTypes)];
    const auto filter = Filter::compile(expression, link_type);
    if (!filter) continue;
    ++compiled;
    const Prefilter prefilter = Prefilter::of_expression(expression);
    selective += !prefilter.matches_anything();
    CAPTURE(expression, prefilter.to_string(), link_type);
    for (int frame = 0; frame < 25; ++frame) {
      SummaryBuilder builder;
      bool any = false;
      // Few packets a frame, or everything is in every frame.
      for (unsigned i = 0; i < 1 + random() % 3; ++i) {
        const RandomPacket packet = traffic.packet(link_type);
        any = any || filter->matches(view(packet.data), packet.original_length);
        builder.add(decode(link_type, view(packet.data)));
      }
      const Summary summary = Summary::parse(builder.take().to_text()).value();
      const bool may = prefilter.may_match(summary);
      if (any && !may) FAIL("skipped a match: " << summary.to_text());
      skipped += !may;
      ++frames;
    }
  }
  // All of this is worth nothing where nothing is skipped.
  CHECK(compiled > expressions.size() / 3);
  CHECK(selective > compiled / 4);
  CHECK(skipped > frames / 20);
}
