#include "event_feed.hpp"

namespace lookback::hub {

void EventFeed::publish(std::string type, std::string data) {
  const std::lock_guard lock(mutex_);
  events_.push_back({++last_, std::move(type), std::move(data)});
  if (events_.size() > kHistory) events_.pop_front();
  changed_.notify_all();
}

EventFeed::Batch EventFeed::wait(uint64_t after, std::chrono::milliseconds time) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [&] { return closed_ || last_ > after; });
  Batch batch;
  batch.closed = closed_;
  for (const Event& event : events_) {
    if (event.number > after) batch.events.push_back(event);
  }
  if (!batch.events.empty()) batch.missed = batch.events.front().number - after - 1;
  return batch;
}

uint64_t EventFeed::last_number() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

void EventFeed::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

}  // namespace lookback::hub
