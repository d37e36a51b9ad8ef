#include "node/recorder.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "lookback/base/log.hpp"

namespace lookback::node {
namespace {

constexpr size_t kMaxJobs = 256;       // more than a ring has blocks in most set-ups; beyond it the drainer waits
constexpr size_t kMaxBarriers = 64;
constexpr auto kBarrierPatience = std::chrono::seconds(60);

/// Recording goes before the rest of the machine's work where that may be asked for. Linux keeps it by thread.
void become(const char* name) {
  prctl(PR_SET_NAME, name);
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), -10);
}

}  // namespace

Recorder::Recorder(capture::Ring& ring, store::Store& store, const Clock& clock,
                   RecorderOptions options, PageMemory memory, PageMemory spare_memory)
    : ring_(ring),
      store_(store),
      clock_(clock),
      options_(options),
      whole_min_bytes_(ring.block_bytes() / 4),
      memory_(std::move(memory)),
      spare_memory_(std::move(spare_memory)),
      jobs_(kMaxJobs),
      clock_watch_(clock) {
  buffers_.reserve(size_t{options.buffers} + options.spare_buffers);
  for (uint32_t i = 0; i < options.buffers; ++i)
    buffers_.emplace_back(
        memory_.bytes().subspan(size_t{i} * options.buffer_bytes, options.buffer_bytes), false);
  for (uint32_t i = 0; i < options.spare_buffers; ++i)
    buffers_.emplace_back(
        spare_memory_.bytes().subspan(size_t{i} * options.buffer_bytes, options.buffer_bytes), true);
  for (auto& buffer : buffers_) (buffer.spare ? free_spare_ : free_).push_back(&buffer);
}

Result<std::unique_ptr<Recorder>> Recorder::start(capture::Ring& ring, store::Store& store,
                                                  const Clock& clock, RecorderOptions options) {
  LOOKBACK_CHECK(options.buffers >= 2);
  TRY_ASSIGN(PageMemory memory,
             PageMemory::allocate(size_t{options.buffers} * options.buffer_bytes));
  PageMemory spare_memory;
  if (options.spare_buffers != 0) {
    TRY_ASSIGN(spare_memory,
               PageMemory::allocate(size_t{options.spare_buffers} * options.buffer_bytes));
  }
  std::unique_ptr<Recorder> recorder(
      new Recorder(ring, store, clock, options, std::move(memory), std::move(spare_memory)));
  // Registered memory is always there: the spare buffers are left out.
  TRY(store.register_memory(recorder->memory_.bytes()));
  TRY(store.register_memory(ring.memory()));
  recorder->drops_checked_ns_ = options.ring_opened_ns != 0 ? options.ring_opened_ns : clock.realtime_ns();
  recorder->drops_checked_monotonic_ns_ = recorder->next_second_ns_ = clock.monotonic_ns();
  recorder->writer_ = std::thread([r = recorder.get()] {
    become("writer");
    r->write();
  });
  recorder->drainer_ = std::thread([r = recorder.get()] {
    become("drainer");
    r->drain();
  });
  return recorder;
}

Recorder::~Recorder() { stop(); }

void Recorder::stop() {
  stopping_.store(true);
  ring_.wake();
  if (drainer_.joinable()) drainer_.join();
  jobs_.close();  // the writer takes what is left
  if (writer_.joinable()) writer_.join();
}

Result<> Recorder::barrier() {
  const auto promise = std::make_shared<std::promise<Result<>>>();
  auto done = promise->get_future();
  {
    const std::lock_guard lock(barrier_mutex_);
    if (failure_) return tl::make_unexpected(failure_->in("recording has ended"));
    if (refuses_barriers_) return fail(ErrorKind::cancelled, "the recorder is being stopped");
    if (barriers_.size() >= kMaxBarriers)
      return fail(ErrorKind::failed, "too many freezes wait for the disk; try again");
    barriers_.push_back(promise);
  }
  ring_.wake();
  if (done.wait_for(kBarrierPatience) != std::future_status::ready)
    return fail(ErrorKind::failed, "the disk did not take the latest packets within {} seconds",
                kBarrierPatience.count());
  return done.get();
}

void Recorder::add_clock_sample(const ClockSample& sample) {
  const std::lock_guard lock(clock_mutex_);
  note_clock_step();  // one that the sample already knows of goes before it
  last_clock_ = sample;
  push(sample);
}

void Recorder::note_clock_step() {
  const auto step = clock_watch_.look();
  if (!step) return;
  log_warning("the clock was set by {} ms", *step / 1'000'000);
  // The hub's clock went on meanwhile: what is known of the offset moves by the step. Where nothing is known, the error
  // says that the offset means nothing.
  ClockSample sample = last_clock_.value_or(ClockSample{});
  // Packets that came between the step and this look are stamped by the new time already.
  sample.time_ns = clock_watch_.earliest_ns();
  if (last_clock_)
    sample.offset_ns += *step;
  else
    sample.error_ns = std::abs(*step);
  sample.step_ns = *step;
  if (last_clock_) {
    last_clock_ = sample;
    last_clock_->step_ns = 0;
  }
  push(sample);
}

bool Recorder::push(Job job) { return jobs_.push(std::move(job)); }

RecorderTotals Recorder::totals() const {
  RecorderTotals totals;
  totals.packets = packets_.load(std::memory_order_relaxed);
  totals.bytes = bytes_.load(std::memory_order_relaxed);
  totals.dropped = dropped_.load(std::memory_order_relaxed);
  totals.stalls = stalls_.load(std::memory_order_relaxed);
  totals.disk_full_packets = disk_full_packets_.load(std::memory_order_relaxed);
  totals.disk_error_packets = disk_error_packets_.load(std::memory_order_relaxed);
  totals.whole_blocks = whole_blocks_.load(std::memory_order_relaxed);
  totals.compact_blocks = compact_blocks_.load(std::memory_order_relaxed);
  totals.disk_bytes = disk_bytes_.load(std::memory_order_relaxed);
  return totals;
}

std::optional<Error> Recorder::failure() const {
  const std::lock_guard lock(barrier_mutex_);
  return failure_;
}

void Recorder::on_failure(std::function<void()> callback) {
  bool failed_already = false;
  {
    const std::lock_guard lock(barrier_mutex_);
    failed_already = failure_.has_value();
    failure_callback_ = callback;
  }
  if (failed_already) callback();
}

void Recorder::fail_with(Error error) {
  log_error("recording ends: {}", error.message);
  std::function<void()> callback;
  {
    const std::lock_guard lock(barrier_mutex_);
    if (failure_) return;
    failure_ = std::move(error);
    callback = failure_callback_;
  }
  if (callback) callback();
}

}  // namespace lookback::node
