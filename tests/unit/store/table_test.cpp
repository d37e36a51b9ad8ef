// The table of interfaces that packets are named by, and what is known where it is lost.
#include <catch2/catch.hpp>

#include "store/block_codec.hpp"
#include "unit/store/support/store_fixture.hpp"
#include "unit/support/damage.hpp"

namespace lookback::store {

using namespace testing;

namespace {

packet::Interface ethernet(uint32_t index, const std::string& name) {
  packet::Interface one;
  one.index = index;
  one.name = name;
  one.link_type = packet::link_type::kEthernet;
  return one;
}

/// Segments 1 to 3 of one run of the recorder, each with a kernel block and a compact one of eth0, and the directory as a kill leaves it.
struct Recorded {
  TemporaryDirectory dir;
  FakeClock clock;
  std::vector<TimeWindow> times;  ///< of the packets, by segment

  /// The table from the segment `changed` on has eth0 in another place and by another number.
  explicit Recorded(int segments, int changed = 0) {
    auto store = open_store(small_store(dir.path()), clock);
    store->set_interfaces({ethernet(1, "lo"), ethernet(7, "eth0")});
    for (int segment = 1; segment <= segments; ++segment) {
      const bool other = changed != 0 && segment >= changed;
      if (segment == changed) store->set_interfaces({ethernet(9, "eth0"), ethernet(1, "lo")});
      const int64_t from_ns = clock.now_ns;
      for (const bool kernel : {true, false}) {
        TestPacket packet = marked_packet(1, static_cast<uint16_t>(segment), 60, clock.now_ns++);
        packet.interface = kernel ? (other ? 9 : 7) : (other ? 0 : 1);
        TestBlock made = kernel ? kernel_block({packet}, 64 << 10) : compact_block({packet});
        REQUIRE(store->append_block(made.block, made.info));
      }
      times.push_back({from_ns, clock.now_ns});
      clock.now_ns += kNsPerSecond;
      if (segment < segments) REQUIRE(store->seal());
    }
  }

  /// A bit of the header of the first block, which is the note with the table.
  void lose_table(uint64_t segment) const {
    test::flip(segment_file(dir.path(), segment), kPageBytes + 20);
  }

  struct Named {
    std::vector<std::string> names;  ///< by packet, in the order of the recording
    std::vector<Gap> gaps;
  };
  [[nodiscard]] Named read() {
    const auto store = open_store(small_store(dir.path()), clock);
    const auto freeze = store->freeze(everything("a"));
    REQUIRE(freeze);
    Named named;
    for (size_t i = 0; i < freeze->runs.size(); ++i) {
      const auto reader = store->read_run("a", i);
      REQUIRE(reader);
      const ReadResult read = read_all(**reader);
      for (const TestPacket& packet : read.packets) named.names.push_back(read.interfaces.at(packet.interface).name);
      REQUIRE(store->note_damage("a", read.damage));
    }
    named.gaps = store->find_freeze("a")->gaps;
    return named;
  }
};

bool told(const std::vector<Gap>& gaps, TimeWindow times) {
  return std::any_of(gaps.begin(), gaps.end(), [&](const Gap& gap) {
    return gap.reason == "damaged segment" && gap.start_ns <= times.from_ns && gap.end_ns >= times.to_ns;
  });
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("interfaces keep their names when a table is lost that those around it agree with") {
  Recorded recorded(3);
  recorded.lose_table(2);
  CHECK(recorded.read().names == Names(6, "eth0"));
}

TEST_CASE("where a table is known on one side only, it names interfaces, and a gap shows the doubt") {
  const auto [segments, segment] = GENERATE(std::pair(3, 1), std::pair(3, 3));
  Recorded recorded(segments);
  recorded.lose_table(static_cast<uint64_t>(segment));
  const auto read = recorded.read();
  CHECK(read.names == Names(6, "eth0"));
  CHECK(told(read.gaps, recorded.times[static_cast<size_t>(segment) - 1]));
}

TEST_CASE("packets whose only table is lost are there without its names, and a gap shows it") {
  Recorded recorded(1);
  recorded.lose_table(1);
  const auto read = recorded.read();
  CHECK(read.names == Names{"if7", "unknown-1"});
  CHECK(told(read.gaps, recorded.times[0]));
}

TEST_CASE("an interface that the tables around a lost one call differently is not guessed") {
  Recorded recorded(3, 3);
  recorded.lose_table(2);
  const auto read = recorded.read();
  CHECK(read.names == Names{"eth0", "eth0", "eth0", "unknown-1", "eth0", "eth0"});
  CHECK(told(read.gaps, recorded.times[1]));
}

}  // namespace lookback::store
