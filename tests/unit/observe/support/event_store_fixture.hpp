#pragma once
// What the tests of the event store share.

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "lookback/observe/event_store.hpp"
#include "unit/support/files.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::observe::testing {

inline constexpr int64_t kStart = 1'700'000'000'000'000'000;
inline constexpr uint64_t kMiB = 1 << 20;

using test::slurp;
using test::TemporaryDirectory;

/// As du counts the files below, each inode once; directories left out.
[[nodiscard]] uint64_t disk_usage(const std::filesystem::path& directory);
[[nodiscard]] std::filesystem::path segment_file(const std::filesystem::path& directory,
                                                 uint64_t sequence);
/// In place, so for every link to the file.
void replace_contents(const std::filesystem::path& path, const std::string& bytes);

/// An event store and the events that go into it.
class Feed {
 public:
  explicit Feed(EventStoreOptions options);
  /// Ends the open segment at `now_ns` and begins one with so many bytes of events in it, which
  /// pack well or not at all.
  void segment(int64_t now_ns, uint64_t bytes, bool packs = true);
  std::unique_ptr<EventStore> store;

 private:
  std::mt19937_64 random_{7};
};

}  // namespace lookback::observe::testing
