#pragma once
// The store behind its interface. Two locks: `structure_` is held by whoever creates or removes
// files (preparing a segment, freezing, recycling) and may be held for long; `state_` guards what
// is in memory and is held for moments only. Order: structure_ before state_. The recorder takes
// structure_ only when no prepared segment is ready for it.

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "lookback/base/file.hpp"
#include "lookback/store/store.hpp"
#include "store/aligned_buffer.hpp"
#include "store/block_output.hpp"
#include "store/catalog.hpp"
#include "store/note.hpp"
#include "store/segment_writer.hpp"

namespace lookback::store {

/// Damage found while reading, told by readers that may outlive their store.
class DamageLedger {
 public:
  void add(uint64_t sequence, const Gap& gap);
  void forget(uint64_t sequence);
  [[nodiscard]] std::map<uint64_t, std::vector<Gap>> all() const;

 private:
  mutable std::mutex mutex_;
  std::map<uint64_t, std::vector<Gap>> gaps_;
};

class StoreImpl final : public Store {
 public:
  StoreImpl(StoreOptions options, FileLock lock, const Clock& clock);
  ~StoreImpl() override;
  [[nodiscard]] Result<> load();  ///< what is on disk, then the first look at the quota
  void start();                   ///< the background thread

  [[nodiscard]] Result<> register_memory(std::span<std::byte> memory) override;
  [[nodiscard]] Result<> append_block(std::span<std::byte> block, const BlockInfo& info) override;
  void set_interfaces(const std::vector<packet::Interface>& interfaces) override;
  void add_gap(const Gap& gap) override;
  void add_clock_sample(const ClockSample& sample) override;
  void set_complete_until(int64_t time_ns) override;
  std::vector<ClockSample> clock_history() const override;
  void tick() override;
  [[nodiscard]] Result<> seal() override;

  [[nodiscard]] uint64_t set_reserved(uint64_t bytes) override;
  [[nodiscard]] StoreStatus status() const override;
  [[nodiscard]] std::vector<Gap> gaps(TimeWindow window) const override;
  [[nodiscard]] Result<Freeze> freeze(const FreezeRequest& request) override;
  [[nodiscard]] TimeWindow window_of(const FreezeRequest& request) const override;
  [[nodiscard]] Result<Freeze> find_freeze(const std::string& id) const override;
  [[nodiscard]] std::vector<Freeze> freezes() const override;
  [[nodiscard]] Result<> note_damage(const std::string& id,
                                     const std::vector<Gap>& damage) override;
  [[nodiscard]] std::vector<FreezeLabel> freeze_labels() const override;
  [[nodiscard]] Result<> renew_freeze(const std::string& id, int64_t time_to_live_ns) override;
  [[nodiscard]] Result<> release_freeze(const std::string& id) override;
  [[nodiscard]] Result<std::unique_ptr<RunReader>> read_run(const std::string& freeze_id,
                                                            size_t run) const override;

 private:
  struct FreezeEntry {
    Freeze freeze;
    std::set<uint64_t> sequences;  ///< that it still holds
    uint64_t cost = 0;             ///< of its directory and record
  };

  // store_load.cpp
  [[nodiscard]] Result<> check_disk() const;
  [[nodiscard]] Result<> remove_leftovers() const;
  [[nodiscard]] Result<> load_segments();
  [[nodiscard]] Result<> load_freezes();
  void adopt_freeze(const std::filesystem::path& directory, Freeze freeze);
  void probe_direct_io();

  // store_record.cpp: recorder thread
  [[nodiscard]] Result<> open_segment(uint64_t block_bytes);
  [[nodiscard]] bool open_segment_is_empty() const;
  void close_segment();  ///< seals it, or removes it where nothing is in it
  [[nodiscard]] Result<> write_note_if_due(bool everything);
  void note_completeness();  ///< before a segment is sealed for good
  [[nodiscard]] bool note_is_due() const;
  void publish(const IndexEntry& entry);
  void note_written(const Note& note, const std::optional<IndexEntry>& entry);
  [[nodiscard]] Note pending_note(bool with_table) const;

  // store_space.cpp: structure_ is held
  [[nodiscard]] Result<> prepare_locked(uint64_t bytes);
  [[nodiscard]] Result<> make_room_locked(uint64_t bytes);
  [[nodiscard]] bool recycle_for_others_locked(uint64_t bytes);
  [[nodiscard]] uint64_t most_reserved_bytes() const;
  void remove_segment_locked(uint64_t sequence);
  void refresh_small_files_locked();
  [[nodiscard]] uint64_t used_bytes_state_locked() const;

  // store_select.cpp: what a freeze is to have
  struct Selection {
    TimeWindow window;
    std::vector<std::vector<TimeWindow>> parts;
    std::vector<FrozenRun> runs;
    std::vector<uint64_t> sequences;
    std::vector<Gap> gaps;
    std::vector<ClockSample> clock;
  };
  [[nodiscard]] Result<Selection> select_locked(const FreezeRequest& request);
  [[nodiscard]] std::vector<Gap> gaps_of(TimeWindow window, const Catalog::Asked& asked) const;

  // store_freeze.cpp
  [[nodiscard]] Result<> build_freeze_directory(const Freeze& freeze,
                                                const std::vector<uint64_t>& sequences,
                                                const std::string& json) const;
  void release_locked(const std::string& id);
  void expire_locked();
  void unpin(const std::vector<uint64_t>& sequences);
  [[nodiscard]] Freeze with_damage(const FreezeEntry& entry) const;
  [[nodiscard]] bool alive(const Freeze& freeze) const {
    return freeze.expires_ns > clock_.realtime_ns();
  }

  void work();  ///< the background thread

  [[nodiscard]] std::filesystem::path segment_path(uint64_t sequence) const;
  [[nodiscard]] std::filesystem::path freeze_path(const std::string& id) const;

  const StoreOptions options_;
  const Clock& clock_;
  const FileLock lock_;
  const std::filesystem::path packets_path_, freezes_path_;
  bool direct_ = true;  ///< set in load()

  // Recorder thread only.
  BlockOutput output_;
  AlignedBuffer scratch_;
  std::optional<SegmentWriter> writer_;
  std::vector<packet::Interface> interfaces_;
  bool interfaces_changed_ = false;
  std::optional<ClockSample> last_sample_;
  std::optional<int64_t> complete_ns_;  ///< said by the recorder, and not noted yet
  int64_t last_note_monotonic_ns_ = 0;
  bool asked_for_next_ = false;

  mutable std::mutex structure_;
  mutable std::mutex state_;
  // Guarded by state_.
  Catalog catalog_;
  std::map<std::string, FreezeEntry> freezes_;
  std::optional<PreparedFile> prepared_;
  uint64_t prepared_cost_ = 0;
  uint64_t small_files_cost_ = 0;  ///< directories and other files, freezes' own left out
  uint64_t freeze_in_work_cost_ = 0;
  uint64_t reserved_ = 0;  ///< of the quota, see set_reserved
  Note pending_;           ///< gaps and samples not written yet
  std::vector<std::string> unsynced_freezes_;
  bool want_prepared_ = false, want_expiry_ = false, stopping_ = false;
  std::condition_variable wake_;

  std::atomic<int64_t> next_expiry_ns_{std::numeric_limits<int64_t>::max()};
  std::shared_ptr<DamageLedger> damage_ = std::make_shared<DamageLedger>();
  std::thread worker_;
};

}  // namespace lookback::store
