// The programs against the running kernel's verifier, whole and with some of them spoiled.
#include "observe/kernel_programs.hpp"

#include <bpf/libbpf.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "observe/bpf/events.h"
#include "unit/observe/support/kernel_rights.hpp"

using namespace lookback;
using namespace lookback::observe;

namespace {

/// As another kind of program it may not call what it calls: the verifier refuses it.
void spoil(bpf_object* object, const char* name) {
  bpf_program* program = bpf_object__find_program_by_name(object, name);
  REQUIRE(program != nullptr);
  REQUIRE(bpf_program__set_type(program, BPF_PROG_TYPE_SOCKET_FILTER) == 0);
}

pid_t fork_and_wait() {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  waitpid(pid, nullptr, 0);
  return pid;
}

size_t records_of(KernelPrograms& programs, uint32_t kind, pid_t pid) {
  size_t count = 0;
  programs.drain([&](std::span<const std::byte> bytes) {
    lb_process_event event{};
    std::memcpy(&event, bytes.data(), std::min(bytes.size(), sizeof event));
    if (event.head.kind == kind && event.task.pid == static_cast<uint32_t>(pid)) ++count;
  });
  return count;
}

}  // namespace

TEST_CASE("this kernel takes every program", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  const auto programs = KernelPrograms::load({});
  REQUIRE(programs);
  for (const auto& part : (*programs)->missing()) FAIL_CHECK(part);
  const pid_t child = fork_and_wait();
  CHECK(records_of(**programs, LB_FORK, child) == 1);
}

TEST_CASE("a program that the kernel refuses costs no other", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  KernelPrograms::Options options;
  std::vector<const char*> spoiled;
  std::vector<std::string> lost;
  SECTION("one") {
    spoiled = {"on_retransmit"};
    lost = {"retransmits: "};
  }
  SECTION("several, of several kinds") {
    spoiled = {"on_sock_release", "on_oom_victim", "on_packet_drop"};
    lost = {"kills for want of memory: ", "packets dropped by the kernel: ",
            "the end of UDP, ping and raw sockets: "};
  }
  options.before_load = [&](bpf_object* object) {
    for (const char* name : spoiled) spoil(object, name);
  };
  const auto programs = KernelPrograms::load(options);
  REQUIRE(programs);
  auto missing = (*programs)->missing();
  std::sort(missing.begin(), missing.end());
  REQUIRE(missing.size() == lost.size());
  for (size_t i = 0; i < lost.size(); ++i) {
    INFO(missing[i]);
    CHECK(missing[i].starts_with(lost[i]));
    // One is refused when it is attached, not when it is loaded.
    const bool is_release = missing[i].starts_with("the end of UDP");
    CHECK_THAT(missing[i], Catch::Contains(is_release ? "cannot be attached: "
                                                      : "the kernel does not take it: "));
    if (!is_release) CHECK(missing[i].back() == ')');  // the verifier's own words
  }
  const pid_t child = fork_and_wait();
  CHECK(records_of(**programs, LB_EXIT, child) == 1);
}

TEST_CASE("without what all depends on there is nothing, and it is said why", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  KernelPrograms::Options options;
  options.before_load = [](bpf_object* object) { spoil(object, "on_process_exec"); };
  const auto programs = KernelPrograms::load(options);
  REQUIRE_FALSE(programs);
  CHECK_THAT(programs.error().message, Catch::Contains("the kernel does not take it"));
  CHECK_THAT(programs.error().message, Catch::Contains("invalid bpf_context"));
}

TEST_CASE("what a full ring buffer does not take is counted", "[kernel]") {
  if (!test::can_load_kernel_programs()) return;
  KernelPrograms::Options options;
  options.ring_bytes = 4096;
  const auto programs = KernelPrograms::load(options);
  REQUIRE(programs);
  constexpr int kForks = 200;
  for (int i = 0; i < kForks; ++i) fork_and_wait();
  size_t taken = 0;
  (*programs)->drain([&](std::span<const std::byte>) { ++taken; });
  CHECK(taken > 0);
  CHECK(taken < kForks);
  // A fork and an exit each; others on this machine may add to it.
  CHECK((*programs)->counters().lost + taken >= 2 * kForks);
}
