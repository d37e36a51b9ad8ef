// A recorder that is killed: everything it completed is there, nothing half-done is, and recording
// goes on.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <random>

#include "lookback/base/fd.hpp"
#include "unit/store/support/store_fixture.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;

namespace {

/// Records blocks of three packets, numbered from `first`, and tells each completed block's number
/// through the pipe.
[[noreturn]] void record_until_killed(const StoreOptions& options, uint64_t first, int pipe) {
  auto store = Store::open(options, Clock::system());
  if (!store) ::_exit(3);
  for (uint64_t number = first;; ++number) {
    std::vector<TestPacket> packets;
    // The number is in the packets' original length and data, the time is real.
    for (uint16_t i = 0; i < 3; ++i) {
      packets.push_back(marked_packet(static_cast<uint16_t>(number), i, 2000 + number * 37 % 9000,
                                      Clock::system().realtime_ns()));
      packets.back().original_length = 20'000 + static_cast<uint32_t>(number);
    }
    TestBlock made = number % 2 == 0 ? compact_block(packets) : kernel_block(packets, 64 << 10);
    if (!(*store)->append_block(made.block, made.info)) ::_exit(4);
    if (::write(pipe, &number, sizeof number) != sizeof number) ::_exit(5);
    if (number % 13 == 0 && !(*store)->seal()) ::_exit(6);
  }
}

}  // namespace

TEST_CASE(
    "after kill -9 everything up to the last completed block is served, and recording goes on") {
  TemporaryDirectory dir;
  StoreOptions options = small_store(dir.path());
  options.use_io_uring = GENERATE(true, false);
  std::mt19937 random(7);
  uint64_t next = 1;
  for (int round = 0; round < 12; ++round) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const Fd out(ends[0]);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::close(ends[0]);
      record_until_killed(options, next, ends[1]);
    }
    ::close(ends[1]);
    // Let it come far enough, then kill it wherever it is.
    uint64_t completed = next - 1;
    const uint64_t enough = next + random() % 40;
    while (completed < enough &&
           ::read(out.get(), &completed, sizeof completed) == sizeof completed) {
    }
    ::usleep(random() % 3000);
    REQUIRE(::kill(child, SIGKILL) == 0);
    while (::read(out.get(), &completed, sizeof completed) == sizeof completed) {
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(completed >= enough);

    auto store = open_store(options, Clock::system());
    CHECK(store->status().damaged_segments == 0);
    const auto freeze = store->freeze(everything("check-" + std::to_string(round)));
    REQUIRE(freeze);
    const ReadResult read = read_freeze(*store, *freeze);
    CHECK(read.damaged_blocks == 0);
    // In order, whole blocks only; one more than was told of may be there.
    uint64_t last = 0;
    REQUIRE(read.packets.size() % 3 == 0);
    for (size_t i = 0; i < read.packets.size(); ++i) {
      const uint64_t number = read.packets[i].original_length - 20'000;
      REQUIRE(read.packets[i].data == marked_packet(static_cast<uint16_t>(number),
                                                    static_cast<uint16_t>(i % 3),
                                                    2000 + number * 37 % 9000, 0)
                                          .data);
      if (i % 3 == 0) {
        if (last != 0) REQUIRE(number == last + 1);
        last = number;
      }
      REQUIRE(number == last);
    }
    CHECK(last >= completed);
    CHECK(last <= completed + 1);
    CHECK(read.packets.front().original_length == 20'001);
    // The pause is known.
    if (round > 0) {
      const auto gaps = store->gaps({read.packets.front().time_ns, Clock::system().realtime_ns()});
      CHECK(gaps.size() >= static_cast<size_t>(round));
      for (const Gap& gap : gaps) CHECK(gap.reason == "not running");
    }
    REQUIRE(store->release_freeze(freeze->id));
    next = last + 1;
  }
}
