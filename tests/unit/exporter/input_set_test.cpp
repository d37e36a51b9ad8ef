#include "exporter/input_set.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "unit/exporter/support/captures.hpp"
#include "unit/support/files.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::exporter;
using lookback::test::pcap_of;
using lookback::test::spill;
using lookback::test::TemporaryDirectory;

TEST_CASE("names without the count and the time of a ring") {
  struct Row {
    const char* name;
    const char* stem;
    bool numbered;
  };
  const Row rows[] = {{"ring_00001.pcap", "ring", true},
                      {"ring_123456.pcap", "ring", true},
                      {"ring_00001_20260301120000.pcapng.gz", "ring", true},
                      {"ring_20260301120000_00001.pcapng", "ring", true},
                      {"x.pcap", "x", false},
                      {"x.pcap1", "x", true},
                      {"x.pcap002", "x", true},
                      {"x.pcap.3.gz", "x", true},
                      {"x-2026-03-01T12:00:00.pcap", "x", true},
                      {"x_2026-03-01_12-30.pcap", "x", true},
                      {"x-20260301-1200.eth0.pcap", "x-eth0", true},
                      {"x.2026_03_01.pcap", "x", true},
                      {"x-1772366400.pcap", "x", true},
                      {"20260301.pcap", "", true},
                      {"web-1.pcap", "web-1", false},
                      {"web-01.pcap", "web-01", false},
                      {"web-12345.pcap", "web-12345", false},
                      {"web_1234.pcap", "web_1234", false},
                      {"pod-75675f5897.pcap", "pod-75675f5897", false},
                      {"x-20269901.pcap", "x-20269901", false},
                      {"10.77.0.12.pcap", "10.77.0.12", false}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const RingName ring = ring_name_of(row.name);
    CHECK(ring.stem == row.stem);
    CHECK(ring.numbered == row.numbered);
  }
}

TEST_CASE("files of a ring are one group, and folders are searched") {
  const TemporaryDirectory folder;
  std::filesystem::create_directories(folder / "in/deeper");
  const std::string capture = pcap_of({});
  for (const char* name : {"in/ring_00001.pcap", "in/ring_00002.pcap", "in/deeper/ring_00001.pcap", "in/deeper/ring_00002.pcap", "in/web-1.pcap",
                           "in/web-2.pcap", "in/x.pcap", "in/x.pcap1", "in/y.pcap", "in/y.pcap.gz", "in/unnamed"})
    spill(folder / name, capture);
  spill(folder / "in/README", "no capture");
  spill(folder / "in/empty.pcap", "");
  const std::vector<std::filesystem::path> given{folder / "in"};
  const InputSet set = list_inputs(given, "").value();
  CHECK(set.sources.size() == 12);
  REQUIRE(set.passed_over.size() == 1);
  CHECK(std::filesystem::path(set.passed_over[0]).filename() == "README");
  std::map<std::string, std::vector<std::string>> groups;
  for (const InputSource& source : set.sources) groups[source.group].push_back(source.path.filename().string() + " " + source.node);
  CHECK(groups.size() == 9);
  std::set<std::vector<std::string>> found;
  for (const auto& [group, files] : groups) found.insert(files);
  CHECK(found.contains({"ring_00001.pcap ring", "ring_00002.pcap ring"}));
  CHECK(found.contains({"x.pcap x", "x.pcap1 x"}));
  CHECK(found.contains({"web-1.pcap web-1"}));
  CHECK(found.contains({"y.pcap.gz y"}));
  const InputSet named = list_inputs(given, "n").value();
  for (const InputSource& source : named.sources) CHECK(source.node == "n");
  const std::vector<std::filesystem::path> absent{folder / "absent"};
  CHECK(list_inputs(absent, "").error().kind == ErrorKind::not_found);
  const std::vector<std::filesystem::path> alone{folder / "in/ring_00001.pcap"};
  CHECK(list_inputs(alone, "").value().sources.at(0).node == "ring_00001");
}
