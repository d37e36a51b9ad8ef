#pragma once
// What the tests of the event store share.

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "lookback/observe/event_store.hpp"

namespace lookback::observe::testing {

inline constexpr int64_t kStart = 1'700'000'000'000'000'000;
inline constexpr uint64_t kMiB = 1 << 20;

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// As du counts the files below, each inode once; directories left out.
[[nodiscard]] uint64_t disk_usage(const std::filesystem::path& directory);
[[nodiscard]] std::filesystem::path segment_file(const std::filesystem::path& directory,
                                                 uint64_t sequence);
[[nodiscard]] std::string contents(const std::filesystem::path& path);
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
