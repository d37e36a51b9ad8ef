#include "lookback/packet/ip_address.hpp"

#include <catch2/catch.hpp>

using namespace lookback;
using namespace lookback::packet;

TEST_CASE("addresses are read and written") {
  for (const char* text : {"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "::1", "fd00::1:0:0:2",
                           "2001:db8::ff00:42:8329"}) {
    CAPTURE(text);
    const auto address = IpAddress::parse(text);
    REQUIRE(address);
    REQUIRE(address->to_string() == text);
    REQUIRE(address->is_v4() == (std::string_view(text).find(':') == std::string_view::npos));
  }
  REQUIRE(IpAddress::parse("::ffff:10.1.2.3").value() == IpAddress::parse("10.1.2.3").value());
  for (const char* text :
       {"", "10", "10.1.2", "10.1.2.256", "1.2.3.4 ", "fe80::1%eth0", "web-1", ":::"}) {
    CAPTURE(text);
    const auto address = IpAddress::parse(text);
    REQUIRE_FALSE(address);
    REQUIRE(address.error().kind == ErrorKind::invalid);
  }
  REQUIRE_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
}

TEST_CASE("networks contain what they say") {
  struct Row {
    const char *network, *inside, *outside;
  };
  for (const Row& row :
       {Row{"10.0.0.0/8", "10.255.0.1", "11.0.0.0"}, Row{"10.1.2.4/30", "10.1.2.7", "10.1.2.8"},
        Row{"10.1.2.3", "10.1.2.3", "10.1.2.2"}, Row{"0.0.0.0/0", "1.2.3.4", "::1"},
        Row{"::/0", "::1", "1.2.3.4"}, Row{"fd00::/8", "fdff::1", "fe00::"},
        Row{"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
        Row{"fd00::1", "fd00::1", "fd00::2"}, Row{"128.0.0.0/1", "200.0.0.1", "127.255.255.255"}}) {
    CAPTURE(row.network);
    const auto cidr = Cidr::parse(row.network);
    REQUIRE(cidr);
    REQUIRE(cidr->to_string() == row.network);
    REQUIRE(cidr->contains(IpAddress::parse(row.inside).value()));
    REQUIRE_FALSE(cidr->contains(IpAddress::parse(row.outside).value()));
  }
  REQUIRE(Cidr::parse("10.0.0.0/8")->prefix_bits == 104);
  REQUIRE(Cidr::parse("::ffff:10.0.0.0/104").value() == Cidr::parse("10.0.0.0/8").value());
  REQUIRE(Cidr::parse("1.2.3.4/32")->to_string() == "1.2.3.4");
}

TEST_CASE("networks that are none are refused") {
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "fd00::/129",
                           "/8", "10.0.0.1/8", "fd00::1/64", "10.0.0.0/ 8"}) {
    CAPTURE(text);
    REQUIRE_FALSE(Cidr::parse(text));
  }
  REQUIRE(Cidr::parse("10.1.2.3/8").error().message ==
          "'10.1.2.3/8' has host bits set; write 10.0.0.0/8");
}
