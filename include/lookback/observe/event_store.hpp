#pragma once
// The FIFO of events in a directory of its own: segments that are appended to, packed once they
// have ended, recycled, and frozen by hard links.
//
// Space: segments, those that only freezes hold included, take quota_bytes and what is borrowed, at
// no moment more; room is made before anything is written. Events that no packet is old enough for
// go first. Then room is borrowed. Only where nothing is lent are events of the packets' time given
// up. A segment is packed while no freeze holds it, so that it is one file at any time.
//
// Threading: begin_segment(), append(), flush() and recycle() belong to one recording thread, which
// also makes the calls to EventStoreOptions; pack_one() to another one; everything else may be
// called from any.

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
  /// Time of the oldest packet, which events are to reach back to.
  std::function<std::optional<int64_t>()> oldest_packet_ns{};
  /// Asks for `bytes` beyond the quota, all in all; returns what is lent from then on, as much or
  /// less. More is asked for before it is used, and less once it no longer is. None: nothing is
  /// lent.
  std::function<uint64_t(uint64_t bytes)> borrow{};
};
inline constexpr uint64_t kMinEventQuotaBytes = 16 << 20;

struct EventStoreStatus {
  uint64_t quota_bytes = 0, used_bytes = 0, frozen_bytes = 0, segments = 0;
  uint64_t borrowed_bytes = 0;  ///< that used_bytes may be beyond quota_bytes
  uint64_t lost_events = 0;     ///< that the disk did not take
  std::optional<int64_t> oldest_ns;
  bool shortened = false;  ///< events of the packets' time had to be given up
};

struct FrozenSegment {
  uint64_t sequence = 0;
  uint64_t bytes = 0;       ///< of its content
  uint64_t disk_bytes = 0;  ///< of its file
  int64_t first_ns = 0, last_ns = 0;
};

class EventStore {
 public:
  /// Takes what is there. conflict: another process has the directory; invalid: the quota is too
  /// small.
  [[nodiscard]] static Result<std::unique_ptr<EventStore>> open(EventStoreOptions options);
  /// What a directory of events takes now, open or not.
  [[nodiscard]] static uint64_t bytes_in(const std::filesystem::path& directory);

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
  /// Makes room for what the next moments may bring, and gives back what is borrowed without need.
  void recycle();

  // --- a thread that may take its time
  /// Packs the oldest ended segment that is plain and not frozen. False: there is none, or no room
  /// for both forms now.
  [[nodiscard]] bool pack_one();

  // --- any thread
  [[nodiscard]] EventStoreStatus status() const;
  /// Pins every ended segment that overlaps the window. The same id again gives the same.
  [[nodiscard]] Result<> freeze(const std::string& id, TimeWindow window);
  /// Nothing where there is no such freeze.
  [[nodiscard]] std::vector<FrozenSegment> frozen(const std::string& id) const;
  /// The whole of it, plain. not_found: given up or never there; corrupt: it is damaged.
  [[nodiscard]] Result<std::string> read(const std::string& id, uint64_t sequence) const;
  [[nodiscard]] Result<> release(const std::string& id);  ///< done when it is absent
  /// Ends every freeze that `is_kept` does not know.
  void keep_freezes(const std::function<bool(const std::string&)>& is_kept);

 private:
  struct Segment {
    uint64_t sequence = 0;
    uint64_t bytes = 0, disk_bytes = 0;  ///< of its content, of its file
    int64_t first_ns = 0, last_ns = 0;
    bool packed = false;  ///< or not to be
  };
  EventStore(EventStoreOptions options, FileLock lock)
      : options_(std::move(options)), lock_(std::move(lock)) {}
  [[nodiscard]] Result<> load();
  [[nodiscard]] std::filesystem::path path_of(uint64_t sequence) const;
  [[nodiscard]] std::filesystem::path freeze_folder(const std::string& id) const;
  void note_trouble(const Error& error, uint64_t events);
  // event_space.cpp
  enum class Purpose : uint8_t { write, headroom };
  /// True: there is room, under Purpose::write taken for the open segment already.
  [[nodiscard]] bool make_room(uint64_t bytes, Purpose purpose);
  void drop_unneeded();
  void give_back();
  [[nodiscard]] std::optional<int64_t> oldest_packet_ns() const;
  [[nodiscard]] bool borrow(uint64_t bytes);
  // with mutex_
  [[nodiscard]] uint64_t used_bytes() const;
  [[nodiscard]] std::map<uint64_t, uint64_t> frozen_alone() const;
  [[nodiscard]] bool is_frozen(uint64_t sequence) const;
  [[nodiscard]] bool is_live(uint64_t sequence) const;
  void remove_oldest();
  void limit_freezes(uint64_t most_bytes);

  const EventStoreOptions options_;
  const FileLock lock_;

  // recording thread
  Fd file_;
  std::string buffer_;
  uint64_t buffered_events_ = 0, checkpoint_bytes_ = 0;
  bool troubled_ = false, was_open_ = false;

  bool pack_troubled_ = false;  // the packing thread's

  mutable std::mutex mutex_;
  std::vector<Segment> segments_;  // by sequence; the last is the open one
  uint64_t next_sequence_ = 1, lost_events_ = 0;
  uint64_t borrowed_ = 0;       // written by the recording thread
  uint64_t packing_bytes_ = 0;  // of the file that a packed segment is made in
  bool shortened_ = false;
  std::map<std::string, std::vector<FrozenSegment>> freezes_;
};

}  // namespace lookback::observe
