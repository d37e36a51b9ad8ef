#pragma once
// The FIFO of events in a directory of its own: segments that are appended to, recycled, and frozen
// by hard links.
//
// Threading: begin_segment(), append(), flush() and recycle() belong to one thread; everything else
// may be called from any.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "lookback/observe/event.hpp"

namespace lookback::observe {

struct EventStoreOptions {
  std::filesystem::path directory;
  uint64_t quota_bytes = 64 << 20;
};
inline constexpr uint64_t kMinEventQuotaBytes = 16 << 20;

struct EventStoreStatus {
  uint64_t quota_bytes = 0, used_bytes = 0, frozen_bytes = 0, segments = 0;
  uint64_t lost_events = 0;  ///< that the disk did not take
  std::optional<int64_t> oldest_ns;
  bool shortened = false;  ///< events of the packets' time had to be given up
};

struct FrozenSegment {
  uint64_t sequence = 0, bytes = 0;
  int64_t first_ns = 0, last_ns = 0;
};

class EventStore {
 public:
  /// Takes what is there. conflict: another process has the directory; invalid: the quota is too
  /// small.
  [[nodiscard]] static Result<std::unique_ptr<EventStore>> open(EventStoreOptions options);

  // --- recording thread
  /// Ends the open segment and begins the next, whose checkpoint `state` hands over.
  void begin_segment(int64_t now_ns,
                     const std::function<void(const std::function<void(const Event&)>&)>& state);
  void append(const Event& event);
  /// What was appended outlives the process from here on. Trouble with the disk is counted and told
  /// once.
  void flush();
  /// The open segment is long enough.
  [[nodiscard]] bool wants_segment(int64_t now_ns) const;
  /// Unlinks the oldest segments beyond the quota; those that reach into the packets' time only
  /// beyond twice the quota.
  void recycle(std::optional<int64_t> oldest_packet_ns);

  // --- any thread
  [[nodiscard]] EventStoreStatus status() const;
  /// Pins every ended segment that overlaps the window. The same id again gives the same.
  [[nodiscard]] Result<> freeze(const std::string& id, TimeWindow window);
  /// Nothing where there is no such freeze.
  [[nodiscard]] std::vector<FrozenSegment> frozen(const std::string& id) const;
  /// The whole of it. not_found: given up or never there.
  [[nodiscard]] Result<std::string> read(const std::string& id, uint64_t sequence) const;
  [[nodiscard]] Result<> release(const std::string& id);  ///< done when it is absent
  /// Ends every freeze that `is_kept` does not know.
  void keep_freezes(const std::function<bool(const std::string&)>& is_kept);

 private:
  struct Segment {
    uint64_t sequence = 0, bytes = 0;
    int64_t first_ns = 0, last_ns = 0;
    bool frozen = false;
  };
  EventStore(EventStoreOptions options, FileLock lock)
      : options_(std::move(options)), lock_(std::move(lock)) {}
  [[nodiscard]] Result<> load();
  [[nodiscard]] std::filesystem::path path_of(uint64_t sequence) const;
  [[nodiscard]] std::filesystem::path freeze_folder(const std::string& id) const;
  void note_trouble(const Error& error, uint64_t events);
  void limit_freezes();

  const EventStoreOptions options_;
  const FileLock lock_;

  // recording thread
  Fd file_;
  std::string buffer_;
  uint64_t buffered_events_ = 0, checkpoint_bytes_ = 0;
  bool troubled_ = false, was_open_ = false;

  mutable std::mutex mutex_;
  std::vector<Segment> segments_;  // by sequence; the last is the open one
  uint64_t next_sequence_ = 1, lost_events_ = 0;
  bool shortened_ = false;
  std::map<std::string, std::vector<FrozenSegment>> freezes_;
};

}  // namespace lookback::observe
