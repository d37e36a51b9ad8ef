#include "exporter/frame_pipeline.hpp"

#include <utility>

namespace lookback::exporter {

namespace {

/// Spare batches beyond this many are freed.
constexpr size_t kSpareBatches = 32;
/// A batch that fills less than this share of its memory moves into memory of its own size: where
/// little matches, many frames may be open at once.
constexpr size_t kWorthMoving = 4;

size_t used_bytes(const FrameBatch& batch) {
  return batch.packets.empty() ? 0 : batch.packets.back().end - batch.begin;
}

std::unique_ptr<FrameBatch> move_into_small(FrameBatch& batch) {
  auto small = std::make_unique<FrameBatch>();
  const auto first = batch.bytes.begin() + static_cast<ptrdiff_t>(batch.begin);
  small->bytes.assign(first, first + static_cast<ptrdiff_t>(used_bytes(batch)));
  small->packets.assign(batch.packets.begin(), batch.packets.end());
  for (PacketRef& packet : small->packets) packet.end -= batch.begin;
  small->keys.assign(batch.keys.begin(), batch.keys.end());
  small->digests.assign(batch.digests.begin(), batch.digests.end());
  small->interfaces = batch.interfaces;
  small->packets_read = batch.packets_read;
  small->unread = batch.unread;
  small->cut_packets = batch.cut_packets;
  small->outside_bounds = batch.outside_bounds;
  return small;
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
  ++next_to_take_;
  room_.notify_one();
  return std::move(slot.batch);
}

void FramePipeline::give_back(std::unique_ptr<FrameBatch> batch) {
  const std::lock_guard lock(mutex_);
  if (spare_.size() < kSpareBatches) spare_.push_back(std::move(batch));
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
  return batch;
}

void FramePipeline::run() {
  Worker worker(plan_, hash_);
  for (;;) {
    size_t number = 0;
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [&] {
        return stopping_ || next_to_read_ == plan_.units.size() ||
               next_to_read_ < next_to_take_ + slots_.size();
      });
      if (stopping_ || next_to_read_ == plan_.units.size()) return;
      number = next_to_read_++;
      const FrameUnit& unit = plan_.units[number];
      Member& member = members_[unit.member_number];
      // Others that need this member's interfaces wait for this thread, which decodes the frame
      // that has them anyway.
      if (unit.frame == 0 && member.state == State::absent) member.state = State::loading;
      if (next_to_read_ == plan_.units.size()) room_.notify_all();  // the other threads may end
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
  if (const auto scanned = worker.scanner.scan(unit, *interfaces, batch); !scanned) {
    return in_frame(scanned.error(), *unit.member, unit.frame);
  }
  if (used_bytes(batch) * kWorthMoving < batch.bytes.capacity()) return move_into_small(batch);
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
    auto interfaces = read_member_interfaces(content, unit.node, plan_);
    if (!interfaces) return in_frame(interfaces.error(), *unit.member, 0);
    return std::make_shared<const MemberInterfaces>(std::move(*interfaces));
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

void FramePipeline::publish(uint32_t member, Result<Interfaces> interfaces) {
  const std::lock_guard lock(mutex_);
  members_[member].interfaces = std::move(interfaces);
  members_[member].state = State::ready;
  member_ready_.notify_all();
}

}  // namespace lookback::exporter
