// The recorder's writer thread: jobs go into the store, in their order.

#include <algorithm>

#include "lookback/base/log.hpp"
#include "lookback/base/page.hpp"
#include "node/recorder.hpp"

namespace lookback::node {
namespace {


template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

void Recorder::write() {
  while (auto job = jobs_.pop()) {
    std::visit(Overloaded{
                   [&](WriteCompact& work) {
                     const auto finished = work.buffer->block.finish();
                     append(finished.block, finished.info);
                     give_back(work.buffer);
                   },
                   [&](WriteWhole& work) { append(work.block.memory().subspan(work.skipped), work.info); },
                   [&](std::vector<packet::Interface>& table) { store_.set_interfaces(table); },
                   [&](Gap& gap) { store_.add_gap(gap); },
                   [&](ClockSample& sample) { store_.add_clock_sample(sample); },
                   [&](Seal& seal) {
                     close_disk_gap();
                     if (seal.complete_ns) store_.set_complete_until(*seal.complete_ns);
                     const auto sealed = store_.seal();
                     for (const auto& promise : seal.promises) promise->set_value(sealed);
                     if (!sealed) log_error("{}", sealed.error().message);
                   },
                   [&](Tick& tick) {
                     tick_waits_.store(false);
                     // What the disk did not take is not told yet.
                     if (tick.complete_ns && !disk_gap_) store_.set_complete_until(*tick.complete_ns);
                     store_.tick();
                   },
               },
               *job);
  }
}

void Recorder::append(std::span<std::byte> block, const store::BlockInfo& info) {
  const auto appended = store_.append_block(block, info);
  if (appended) {
    disk_bytes_.fetch_add(in_pages(info.used_bytes),
                          std::memory_order_relaxed);
    if (disk_gap_) {
      log_info("the disk takes packets again");
      close_disk_gap();
      store_.tick();  // on disk before the next packets are
    }
    disk_failing_.store(false, std::memory_order_relaxed);
    return;
  }
  const bool full = appended.error().kind == ErrorKind::no_space;
  (full ? disk_full_packets_ : disk_error_packets_).fetch_add(info.packets, std::memory_order_relaxed);
  if (!disk_failing_.exchange(true, std::memory_order_relaxed))
    log_error("packets are lost: {}", appended.error().message);
  const std::string reason = to_string(full ? GapReason::disk_full : GapReason::disk_error);
  const int64_t slack_ns = info.kind == store::BlockKind::kernel ? capture::kMaxStampDelayNs : 0;
  const int64_t start_ns = info.first_ns - slack_ns, end_ns = info.last_ns + slack_ns + 1;
  if (disk_gap_ && disk_gap_->reason != reason) close_disk_gap();
  if (!disk_gap_) disk_gap_ = Gap{start_ns, end_ns, 0, reason};
  disk_gap_->start_ns = std::min(disk_gap_->start_ns, start_ns);
  disk_gap_->end_ns = std::max(disk_gap_->end_ns, end_ns);
  disk_gap_->packets += info.packets;
}

void Recorder::close_disk_gap() {
  if (!disk_gap_) return;
  store_.add_gap(*disk_gap_);
  disk_gap_.reset();
}

void Recorder::give_back(Buffer* buffer) {
  buffer->block.clear();
  if (buffer->spare) PageMemory::release(buffer->memory);
  const std::lock_guard lock(free_mutex_);
  (buffer->spare ? free_spare_ : free_).push_back(buffer);
  free_ready_.notify_one();
}

}  // namespace lookback::node
