#pragma once
// The segment FIFO of a node: append blocks of packets, recycle the oldest, freeze windows, read by
// time. Takes spans; knows no capture. The format is in segment_format.hpp and lookback-archive(5)
// does not repeat it: segments never leave the node.
//
// Threading: append_*, note() and tick() belong to one recorder thread; everything else may be
// called from any thread.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/coverage.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::store {

struct StoreOptions {
  std::filesystem::path directory;
  uint64_t quota_bytes =
      10ULL << 30;  ///< everything in the directory, frozen segments included, never a byte more
  uint64_t freeze_quota_bytes = 0;  ///< 0: a quarter of the quota
  uint64_t segment_bytes = 0;       ///< 0: scaled with the quota, about a thousandth of it
  uint64_t reserved_bytes = 0;      ///< as by set_reserved(), before anything is recorded
  bool use_io_uring = true;         ///< false: pwrite, as where the kernel refuses io_uring
  bool use_direct_io =
      true;  ///< false: through the page cache, as where the file system has no O_DIRECT
};

inline constexpr uint64_t kMinQuotaBytes = 32ULL << 20;
/// Runs of a freeze hold at most this much, unless a single block is larger.
inline constexpr uint64_t kRunBytes = 8ULL << 20;

/// How the packets of a block are laid out behind the block header.
enum class BlockKind : uint16_t {
  kernel = 1,   ///< a TPACKET_V3 chain as the kernel left it (linux/if_packet.h: tpacket3_hdr,
                ///< sockaddr_ll)
  compact = 2,  ///< 16-byte records, see segment_format.hpp
  note = 3,     ///< JSON: interfaces, gaps, clock samples; the store's own
  index = 4,    ///< closes a sealed segment; the store's own
};

struct BlockInfo {
  BlockKind kind = BlockKind::compact;
  uint32_t used_bytes = 0;    ///< of the span, from its start to the end of the last packet
  uint32_t first_packet = 0;  ///< offset of the first packet's record
  uint32_t packets = 0;
  /// Lowest and highest time stamp. Exact for compact blocks: a packet outside is taken for damage.
  /// For kernel blocks the times of the kernel's block descriptor will do, in any order: there they
  /// are taken to be right to within a second.
  int64_t first_ns = 0, last_ns = 0;
};

/// Bytes that kernel blocks leave free at their front for the store (header and sector tags):
/// everything in front of first_packet, the kernel's own block descriptor included. A ring of such
/// blocks is made with tp_sizeof_priv = block_reserve(block_bytes) − 48. Compact blocks: see
/// CompactBlock, which cares for itself.
[[nodiscard]] uint32_t block_reserve(uint32_t block_bytes);

using lookback::ClockSample;
using lookback::Gap;

struct StoreStatus {
  uint64_t quota_bytes = 0, used_bytes = 0, frozen_bytes = 0;
  uint64_t reserved_bytes = 0;  ///< of the quota, lent to others; not in used_bytes
  uint64_t segments = 0, packets = 0;
  /// Of what is recorded without a hole up to now; frozen segments that recycling has passed over
  /// stand before it.
  std::optional<int64_t> oldest_ns, newest_ns;
  uint64_t damaged_segments = 0;
};

struct FreezeRequest {
  std::string id;     ///< chosen by the caller; the same id again returns the same freeze
  std::string owner;  ///< "snapshot incident-1 of hub …"
  TimeWindow window;  ///< node time, already translated and widened
  /// The node times that are meant, for packets that were recorded while the clock was as these
  /// samples say: after a step back it shows the same times again, and means others by them. What
  /// it returns is sorted, disjoint, and taken in place of `window`, but where no packet can have
  /// any of it. Not given: the window is meant as it is. Called with the store's lock held.
  std::function<std::vector<TimeWindow>(const std::vector<ClockSample>&)> translate{};
  int64_t time_to_live_ns = 24 * 3600 * kNsPerSecond;  ///< at most kMostFreezeLife count
  std::string
      extra;  ///< the caller's own, at most 64 KiB; kept with the freeze as it is and handed back
};

/// A run of blocks inside one frozen segment; what a transfer reads at a time. The list is fixed
/// when the freeze is made and persisted with it, so a member means the same after any restart.
struct FrozenRun {
  std::string segment;  ///< file name inside the freeze
  uint64_t offset = 0, bytes = 0;
  uint64_t packets = 0;
  int64_t first_ns = 0, last_ns = 0;
  bool given_up = false;  ///< recycled later because the freeze quota was passed
  uint32_t part = 0;      ///< the one of Freeze::parts that its packets are to be in
};

struct Freeze {
  std::string id, owner, extra;
  TimeWindow window;  ///< from the first to the last of its parts
  /// Each sorted and disjoint: one, but where the clock was set or the recorder started meanwhile.
  std::vector<std::vector<TimeWindow>> parts;
  int64_t created_ns = 0, expires_ns = 0;
  std::vector<FrozenRun> runs;  ///< each at most run_bytes (8 MiB) unless a single block is larger
  std::vector<Gap> gaps;        ///< inside the window, "recycled" at its start included
  std::vector<ClockSample> clock;    ///< of clock_history(), those that matter for the window
  std::optional<int64_t> oldest_ns;  ///< of the whole store when the freeze was made
};

/// The longest that a freeze lives without being renewed.
inline constexpr int64_t kMostFreezeLife = 24 * 3600 * kNsPerSecond;

/// What tells freezes apart, without their runs.
struct FreezeLabel {
  std::string id, owner, extra;
};

/// Reads the packets of one run in stored order.
class RunReader {
 public:
  virtual ~RunReader() = default;
  /// The next packet or nothing at the end. `interface` of the view indexes interfaces(). The view
  /// lives until the next call. What is damaged is left out and counted, not an error; an error is
  /// a disk that cannot be read.
  [[nodiscard]] virtual Result<std::optional<packet::PacketView>> next() = 0;
  /// Grows while the run is read; what is in it stays as it is.
  [[nodiscard]] virtual const std::vector<packet::Interface>& interfaces() const = 0;
  /// Blocks that are lost, wholly or from some packet on, or whose interfaces may have other names.
  [[nodiscard]] virtual uint64_t damaged_blocks() const = 0;
  /// The time they covered and the packets lost with them; complete once next() has come to the
  /// end.
  [[nodiscard]] virtual const std::vector<Gap>& damage() const = 0;
};

class Store {
 public:
  /// Takes the directory's lock, reads what is there (after a crash: everything up to the last
  /// whole block), drops freezes past their time. Kind no_space where the disk cannot hold the
  /// quota, conflict where another process records there, invalid for sizes that make no sense.
  /// A storage that holds packets already is opened with a warning where others' files fill the
  /// disk. `clock` outlives the store. Regular files of others directly in the directory count into the
  /// quota.
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(StoreOptions options,
                                                           const Clock& clock);
  virtual ~Store() = default;

  // --- recorder thread
  /// Makes memory known to the kernel (io_uring fixed buffers) so that append of blocks inside it
  /// is cheap; may be called for several regions, which outlive the store. Where the kernel refuses
  /// (memlock limit), appending works all the same and costs more.
  [[nodiscard]] virtual Result<> register_memory(std::span<std::byte> memory) = 0;
  /// Appends a block of packets (kernel or compact). `block` is 4096-aligned and at least
  /// info.used_bytes rounded up to a page long. The store writes its header and tags in front of
  /// first_packet, swaps sector tags into the packets and zeroes the last page behind used_bytes:
  /// afterwards the memory is good for nothing but the next block. Returns when the write has
  /// completed. no_space (disk or quota): nothing of it will ever be read, the packets are as they
  /// were, and a later call tries afresh.
  [[nodiscard]] virtual Result<> append_block(std::span<std::byte> block,
                                              const BlockInfo& info) = 0;
  /// The table that compact records index by position and kernel packets by Interface::index, from
  /// the next block on: a compact block that was begun under the old table is appended before.
  virtual void set_interfaces(const std::vector<packet::Interface>& interfaces) = 0;
  virtual void add_gap(const Gap& gap) = 0;
  virtual void add_clock_sample(const ClockSample& sample) = 0;
  /// Every packet that was stamped before is in what was appended. Kept with the notes, so that the
  /// time after a stop or a kill begins as a gap here; without it, the gap begins in front of the
  /// last stored packet by as much as processors may queue packets out of order.
  virtual void set_complete_until(int64_t time_ns) = 0;
  /// Housekeeping between blocks, a few times a second: notes that wait, freezes past their time.
  /// Cheap; the work is a background thread's.
  virtual void tick() = 0;
  /// Seals the open segment, so that everything appended is immutable. The recorder calls it for a
  /// freeze.
  [[nodiscard]] virtual Result<> seal() = 0;

  // --- any thread
  /// Keeps `bytes` of the quota for files of others, in place of what was kept before; returns what
  /// is kept from then on. Room is made before it returns, at the cost of the oldest packets, so
  /// that store and lender together never pass the quota when the lender waits for the answer to
  /// more before he uses it, and asks for less after he has stopped. As much as that or less: half
  /// of the quota is lent at most, nothing that is frozen is given up for it, and recording keeps
  /// room for a few segments beside the freeze quota. May wait while a freeze is made.
  [[nodiscard]] virtual uint64_t set_reserved(uint64_t bytes) = 0;
  [[nodiscard]] virtual StoreStatus status() const = 0;
  /// All that is known of the clock, by node time: the last sample at or before a packet's stamp is
  /// the one for it. Stamps that a step back made ambiguous go to the newer time.
  [[nodiscard]] virtual std::vector<ClockSample> clock_history() const = 0;
  /// Recorded gaps that touch the window (whole, since their counts are), and what the store itself
  /// lacks of it: "recycled", "not running", "damaged segment". In order of time.
  [[nodiscard]] virtual std::vector<Gap> gaps(TimeWindow window) const = 0;
  /// Pins every sealed segment that has packets of the window (seal() first). invalid: the id is no
  /// file name, an empty window; no_space: not even the freeze's own record fits into the quota.
  [[nodiscard]] virtual Result<Freeze> freeze(const FreezeRequest& request) = 0;
  /// The window of the freeze that this would be, now.
  [[nodiscard]] virtual TimeWindow window_of(const FreezeRequest& request) const = 0;
  [[nodiscard]] virtual Result<Freeze> find_freeze(const std::string& id) const = 0;
  [[nodiscard]] virtual std::vector<Freeze> freezes() const = 0;
  [[nodiscard]] virtual std::vector<FreezeLabel> freeze_labels() const = 0;  ///< cheap, for any number of runs
  [[nodiscard]] virtual Result<> renew_freeze(const std::string& id, int64_t time_to_live_ns) = 0;
  /// Keeps with the freeze what turned out to be missing from it while it was read.
  [[nodiscard]] virtual Result<> note_damage(const std::string& id,
                                             const std::vector<Gap>& damage) = 0;
  [[nodiscard]] virtual Result<> release_freeze(
      const std::string& id) = 0;  ///< done when it is absent
  /// Reads around the page cache's good content (drops what it read). not_found for a run that was
  /// given up.
  [[nodiscard]] virtual Result<std::unique_ptr<RunReader>> read_run(const std::string& freeze_id,
                                                                    size_t run) const = 0;
};

}  // namespace lookback::store
