#include "exporter/frame_pipeline.hpp"

#include <algorithm>
#include <utility>

#include "exporter/bytes.hpp"

namespace lookback::exporter {

namespace {

/// Spare batches beyond this are freed.
constexpr size_t kSpareBytes = 16 << 20;
/// Decoded frames that wait to be taken, and those under way, have no more than this, as far as the
/// manifest tells.
constexpr uint64_t kAheadBytes = 32 << 20;
/// A batch that fills less than this share of its memory moves into memory of its own size: where
/// little matches, many frames may be open at once.
constexpr size_t kWorthMoving = 4;

/// The memory that a frame may take once it is decoded.
uint64_t bytes_of(const Plan& plan, const FrameUnit& unit) {
  const archive::FrameEntry& frame = unit.member->frames[unit.frame];
  const uint64_t packets = std::min<uint64_t>(frame.packets, frame.content_bytes / epb::kSmallest);
  const uint64_t each = sizeof(PacketRef) + (plan.dedup ? sizeof(DedupKey) : 0) +
                        (plan.digests ? sizeof(PacketDigest) : 0);
  return frame.content_bytes + packets * each;
}

size_t used_bytes(const FrameBatch& batch) {
  return batch.packets.empty() ? 0 : batch.packets.back().end - batch.begin;
}

tl::unexpected<Error> in_frame(const Error& error, const archive::MemberEntry& member,
                               size_t frame) {
  return tl::make_unexpected(error.in(fmt::format("{}, frame {}", member.name, frame + 1)));
}

}  // namespace

/// What one thread keeps between frames.
class FramePipeline::Worker {
 public:
  Worker(const Plan& plan, const KeyedHash& hash) : scanner(plan, &hash) {}
  archive::FrameDecoder decoder;
  FrameScanner scanner;
  std::vector<std::byte> compressed, head, head_part;
  std::unique_ptr<FrameBatch> batch;
  /// Of the member that was read last, where frames are read again.
  const archive::MemberEntry* member = nullptr;
  Interfaces interfaces;
};

FramePipeline::FramePipeline(const Plan& plan, const archive::ArchiveReader& archive,
                             unsigned threads)
    : plan_(plan), archive_(archive), slots_(size_t{threads} * 2 + 2), members_(plan.members) {
  for (const FrameUnit& unit : plan.units) ++members_[unit.member_number].units_left;
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

FramePipeline::~FramePipeline() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Result<std::unique_ptr<FrameBatch>> FramePipeline::take() {
  std::unique_lock lock(mutex_);
  LOOKBACK_CHECK(next_to_take_ < plan_.units.size());
  Slot& slot = slots_[next_to_take_ % slots_.size()];
  batch_ready_.wait(lock, [&] { return slot.ready; });
  slot.ready = false;
  ahead_bytes_ -= bytes_of(plan_, plan_.units[next_to_take_]);
  ++next_to_take_;
  room_.notify_one();
  return std::move(slot.batch);
}

Result<std::unique_ptr<FrameBatch>> FramePipeline::read_again(const FrameUnit& unit) {
  if (!again_) again_ = std::make_unique<Worker>(plan_, hash_);
  Worker& worker = *again_;
  if (worker.member != unit.member) {
    worker.member = nullptr;
    TRY(read_head(*unit.member, worker));
    TRY_ASSIGN(worker.interfaces, parse_interfaces(unit, worker.head));
    worker.member = unit.member;
  }
  if (!worker.batch) worker.batch = empty_batch();
  ++frames_read_;
  TRY(archive_.read_frame(*unit.member, unit.frame, worker.decoder, worker.compressed,
                          worker.batch->bytes));
  return scan(unit, *worker.interfaces, worker);
}

void FramePipeline::give_back(std::unique_ptr<FrameBatch> batch) {
  const std::lock_guard lock(mutex_);
  const size_t bytes = batch->memory_bytes();
  if (bytes > kSpareBytes - std::min(spare_bytes_, kSpareBytes)) return;
  spare_bytes_ += bytes;
  spare_.push_back(std::move(batch));
}

packet::UnreadCounts FramePipeline::unread() const {
  const std::lock_guard lock(mutex_);
  return unread_;
}

uint64_t FramePipeline::cut_packets() const {
  const std::lock_guard lock(mutex_);
  return cut_packets_;
}

std::unique_ptr<FrameBatch> FramePipeline::empty_batch() {
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) return std::make_unique<FrameBatch>();
  auto batch = std::move(spare_.back());
  spare_.pop_back();
  spare_bytes_ -= batch->memory_bytes();
  return batch;
}

bool FramePipeline::may_read_next() const {
  if (next_to_read_ == next_to_take_) return true;  // the merger waits for it
  return next_to_read_ < next_to_take_ + slots_.size() &&
         ahead_bytes_ + bytes_of(plan_, plan_.units[next_to_read_]) <= kAheadBytes;
}

void FramePipeline::run() {
  Worker worker(plan_, hash_);
  for (;;) {
    size_t number = 0;
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [&] {
        return stopping_ || next_to_read_ == plan_.units.size() || may_read_next();
      });
      if (stopping_ || next_to_read_ == plan_.units.size()) return;
      number = next_to_read_++;
      const FrameUnit& unit = plan_.units[number];
      ahead_bytes_ += bytes_of(plan_, unit);
      Member& member = members_[unit.member_number];
      // Others that need this member's interfaces wait for this thread, which decodes the frame
      // that has them anyway.
      if (unit.frame == 0 && member.state == State::absent) member.state = State::loading;
      if (next_to_read_ == plan_.units.size()) {
        room_.notify_all();  // the other threads may end
      } else if (may_read_next()) {
        room_.notify_one();
      }
    }
    const FrameUnit& unit = plan_.units[number];
    auto batch = read(unit, worker);
    const std::lock_guard lock(mutex_);
    if (batch) {
      for (size_t reason = 0; reason < unread_.size(); ++reason)
        unread_[reason] += (*batch)->unread[reason];
      cut_packets_ += (*batch)->cut_packets;
    }
    Member& member = members_[unit.member_number];
    if (--member.units_left == 0) member.interfaces = Interfaces{};
    Slot& slot = slots_[number % slots_.size()];
    slot.batch = std::move(batch);
    slot.ready = true;
    if (number == next_to_take_) batch_ready_.notify_one();
  }
}

Result<std::unique_ptr<FrameBatch>> FramePipeline::read(const FrameUnit& unit, Worker& worker) {
  if (!worker.batch) worker.batch = empty_batch();
  FrameBatch& batch = *worker.batch;
  ++frames_read_;
  if (auto decoded = archive_.read_frame(*unit.member, unit.frame, worker.decoder,
                                         worker.compressed, batch.bytes);
      !decoded) {
    if (unit.frame == 0) publish(unit.member_number, tl::make_unexpected(decoded.error()));
    return tl::make_unexpected(decoded.error());
  }
  TRY_ASSIGN(const Interfaces interfaces, interfaces_of(unit, batch.bytes, worker));
  return scan(unit, *interfaces, worker);
}

Result<std::unique_ptr<FrameBatch>> FramePipeline::scan(const FrameUnit& unit,
                                                        const MemberInterfaces& interfaces,
                                                        Worker& worker) {
  FrameBatch& batch = *worker.batch;
  if (const auto scanned = worker.scanner.scan(unit, interfaces, batch); !scanned) {
    return in_frame(scanned.error(), *unit.member, unit.frame);
  }
  if (used_bytes(batch) * kWorthMoving < batch.bytes.capacity()) return copy_of(batch, 0, batch.packets.size());
  return std::move(worker.batch);
}

Result<FramePipeline::Interfaces> FramePipeline::interfaces_of(const FrameUnit& unit,
                                                               std::span<const std::byte> content,
                                                               Worker& worker) {
  std::unique_lock lock(mutex_);
  Member& member = members_[unit.member_number];
  if (unit.frame != 0) {
    member_ready_.wait(lock, [&] { return member.state != State::loading; });
  }
  if (member.state == State::ready) return member.interfaces;
  member.state = State::loading;
  lock.unlock();
  auto parsed = [&]() -> Result<Interfaces> {
    if (unit.frame != 0) {
      TRY(read_head(*unit.member, worker));
      content = worker.head;
    }
    return parse_interfaces(unit, content);
  }();
  publish(unit.member_number, parsed);
  return parsed;
}

/// The frames up to the first that has packets: only a member with very many interfaces has more than one.
Result<> FramePipeline::read_head(const archive::MemberEntry& member, Worker& worker) {
  constexpr size_t kMostBytes = 64 << 20;
  worker.head.clear();
  for (size_t frame = 0; frame < member.frames.size(); ++frame) {
    ++frames_read_;
    std::vector<std::byte>& part = frame == 0 ? worker.head : worker.head_part;
    TRY(archive_.read_frame(member, frame, worker.decoder, worker.compressed, part));
    if (frame != 0) worker.head.insert(worker.head.end(), part.begin(), part.end());
    if (member.frames[frame].packets != 0) break;
    if (worker.head.size() > kMostBytes) {
      return in_frame(Error{ErrorKind::corrupt, "too much stands before the first packet"}, member,
                      frame);
    }
  }
  return {};
}

Result<FramePipeline::Interfaces> FramePipeline::parse_interfaces(
    const FrameUnit& unit, std::span<const std::byte> first_frames) {
  auto interfaces = read_member_interfaces(first_frames, unit.node, plan_);
  if (!interfaces) return in_frame(interfaces.error(), *unit.member, 0);
  return std::make_shared<const MemberInterfaces>(std::move(*interfaces));
}

void FramePipeline::publish(uint32_t member, Result<Interfaces> interfaces) {
  const std::lock_guard lock(mutex_);
  members_[member].interfaces = std::move(interfaces);
  members_[member].state = State::ready;
  member_ready_.notify_all();
}

}  // namespace lookback::exporter
