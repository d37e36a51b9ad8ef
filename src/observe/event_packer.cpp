#include "observe/event_packer.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>

#include "lookback/base/log.hpp"
#include "lookback/base/thread.hpp"

namespace lookback::observe {
namespace {

constexpr std::chrono::milliseconds kPause{500};
constexpr int kNiceness = 10;

}  // namespace

EventPacker::EventPacker(EventStore& store) : store_(store) {
  thread_ = try_thread([this] { run(); });
  if (!thread_) log_warning("events are not packed: there is no thread for it");
}

EventPacker::~EventPacker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_) thread_->join();
}

void EventPacker::run() {
  prctl(PR_SET_NAME, "event-packer");
  // On Linux of the calling thread alone. Without it, packing is only less modest.
  if (setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness) != 0)
    log_debug("events are packed at full priority");
  for (std::unique_lock lock(mutex_); !stopping_;) {
    lock.unlock();
    const bool more = store_.pack_one();
    lock.lock();
    if (!more) wake_.wait_for(lock, kPause, [&] { return stopping_; });
  }
}

}  // namespace lookback::observe
