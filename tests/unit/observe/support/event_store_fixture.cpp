#include "unit/observe/support/event_store_fixture.hpp"

#include <sys/stat.h>

#include <fstream>
#include <set>

namespace lookback::observe::testing {
namespace fs = std::filesystem;

uint64_t disk_usage(const fs::path& directory) {
  std::set<ino_t> seen;
  uint64_t bytes = 0;
  std::error_code error;
  for (auto at = fs::recursive_directory_iterator(directory, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    struct stat info {};
    if (lstat(at->path().c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
        seen.insert(info.st_ino).second)
      bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

fs::path segment_file(const fs::path& directory, uint64_t sequence) {
  const std::string number = std::to_string(sequence);
  return directory / (std::string(8 - number.size(), '0') + number + ".events");
}

void replace_contents(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << bytes;
  REQUIRE(out.flush());
}

Feed::Feed(EventStoreOptions options) {
  auto opened = EventStore::open(std::move(options));
  REQUIRE(opened);
  store = std::move(*opened);
}

void Feed::segment(int64_t now_ns, uint64_t bytes, bool packs) {
  constexpr uint64_t kEventBytes = 8 << 10;
  store->begin_segment(now_ns, [&](const auto& take) {
    Event checkpoint;
    checkpoint.kind = Kind::checkpoint;
    checkpoint.time_ns = now_ns;
    take(checkpoint);
  });
  for (uint64_t done = 0; done < bytes; done += kEventBytes) {
    Event event;
    event.kind = Kind::exec;
    event.time_ns = now_ns + static_cast<int64_t>(done);
    event.pid = 7;
    event.argv.resize(kEventBytes, 'x');
    if (!packs)
      for (char& one : event.argv) one = static_cast<char>(random_());
    store->append(event);
  }
  store->flush();
}

}  // namespace lookback::observe::testing
