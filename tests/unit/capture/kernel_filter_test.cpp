#include "lookback/packet/limits.hpp"
#include "capture/kernel_filter.hpp"

#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>

#include <catch2/catch.hpp>
#include <map>

namespace lookback::capture {
namespace {

struct Frame {
  uint32_t hardware_type = ARPHRD_ETHER, packet_type = PACKET_HOST, interface = 1;
  uint8_t first_byte = 0;
};

/// Runs the few instructions that the tests' programs use.
uint32_t run(const Program& program, const Frame& frame) {
  uint32_t a = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const auto& i = program[at];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (i.k == static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_HATYPE)) a = frame.hardware_type;
        else if (i.k == static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE)) a = frame.packet_type;
        else if (i.k == static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_IFINDEX)) a = frame.interface;
        else FAIL("unexpected load");
        break;
      case BPF_LD | BPF_B | BPF_ABS: a = frame.first_byte; break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += a == i.k ? i.jump_true : i.jump_false; break;
      case BPF_JMP | BPF_JA: at += i.k; break;
      case BPF_RET | BPF_K: return i.k;
      default: FAIL("unexpected instruction " << i.code);
    }
  }
  FAIL("ran off the end");
  return 0;
}

/// First byte equal to `value` → 100 bytes, else none.
Program first_byte_is(uint32_t value) {
  return {{BPF_LD | BPF_B | BPF_ABS, 0, 0, 0},
          {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value},
          {BPF_RET | BPF_K, 0, 0, 100},
          {BPF_RET | BPF_K, 0, 0, 0}};
}

}  // namespace

TEST_CASE("an empty plan takes everything but loopback's outgoing copies") {
  const auto program = compose_filter({});
  REQUIRE(program);
  CHECK(run(*program, {}) == lookback::packet::kMaxCapturedBytes);
  CHECK(run(*program, {.packet_type = PACKET_OUTGOING}) == lookback::packet::kMaxCapturedBytes);
  CHECK(run(*program, {.hardware_type = ARPHRD_LOOPBACK}) == lookback::packet::kMaxCapturedBytes);
  CHECK(run(*program, {.hardware_type = ARPHRD_LOOPBACK, .packet_type = PACKET_OUTGOING}) == 0);
}

TEST_CASE("interfaces are selected by index") {
  FilterPlan plan;
  plan.select_interfaces = true;
  plan.snaplen = 96;
  for (uint32_t i = 100; i < 1100; ++i) plan.interface_indexes.push_back(i);
  const auto program = compose_filter(plan);
  REQUIRE(program);
  CHECK(run(*program, {.interface = 99}) == 0);
  CHECK(run(*program, {.interface = 100}) == 96);
  CHECK(run(*program, {.interface = 1099}) == 96);
  CHECK(run(*program, {.interface = 1100}) == 0);

  plan.interface_indexes.clear();
  const auto none = compose_filter(plan);
  REQUIRE(none);
  CHECK(run(*none, {.interface = 100}) == 0);
}

TEST_CASE("each hardware type gets its own rule") {
  FilterPlan plan;
  plan.rules.push_back({{ARPHRD_ETHER, ARPHRD_LOOPBACK}, first_byte_is(1), false});
  plan.rules.push_back({{ARPHRD_NONE}, {}, false});
  plan.rules.push_back({{ARPHRD_FDDI}, {}, true});
  plan.rules.push_back({{}, first_byte_is(2), false});
  const auto program = compose_filter(plan);
  REQUIRE(program);
  for (const uint32_t type : {ARPHRD_ETHER, ARPHRD_LOOPBACK}) {
    CHECK(run(*program, {.hardware_type = type, .first_byte = 1}) == lookback::packet::kMaxCapturedBytes);
    CHECK(run(*program, {.hardware_type = type, .first_byte = 2}) == 0);
  }
  CHECK(run(*program, {.hardware_type = ARPHRD_NONE, .first_byte = 1}) == lookback::packet::kMaxCapturedBytes);
  CHECK(run(*program, {.hardware_type = ARPHRD_FDDI, .first_byte = 2}) == 0);
  CHECK(run(*program, {.hardware_type = 9999, .first_byte = 2}) == lookback::packet::kMaxCapturedBytes);
  CHECK(run(*program, {.hardware_type = 9999, .first_byte = 1}) == 0);
}

TEST_CASE("a machine with many addresses can leave its own connections out") {
  FilterPlan plan;
  for (int i = 0; i < 40; ++i) {
    for (const auto& [local, remote] : {std::pair(fmt::format("10.0.0.{}", i), "10.1.0.1"),
                                        std::pair(fmt::format("fd00::{:x}", i), "fd01::1")})
      plan.exclusions.push_back({packet::IpAddress::parse(local).value(), packet::IpAddress::parse(remote).value(), 7401,
                                 static_cast<uint16_t>(i)});
  }
  REQUIRE(compose_filter(plan));
}

TEST_CASE("a program that the kernel would refuse is refused with the reason") {
  FilterPlan plan;
  plan.select_interfaces = true;
  for (uint32_t i = 0; i < 2100; ++i) plan.interface_indexes.push_back(i);
  const auto program = compose_filter(plan);
  REQUIRE_FALSE(program);
  CHECK(program.error().kind == ErrorKind::invalid);
  CHECK(program.error().message.find("4096") != std::string::npos);
}

}  // namespace lookback::capture
