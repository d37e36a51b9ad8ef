#include "event_feed.hpp"

#include "lookback/base/hash.hpp"

namespace lookback::hub {

EventFeed::EventFeed() : run_(random_hex(4)) {}

void EventFeed::publish(std::string type, std::string data) {
  const std::lock_guard lock(mutex_);
  events_.push_back({++last_, std::move(type), std::move(data)});
  if (events_.size() > kHistory) events_.pop_front();
  wake_all();
}

EventFeed::Batch EventFeed::after(uint64_t number) const {
  const std::lock_guard lock(mutex_);
  Batch batch;
  batch.closed = closed_;
  for (const Event& event : events_) {
    if (event.number > number) batch.events.push_back(event);
  }
  if (!batch.events.empty()) batch.missed = batch.events.front().number - number - 1;
  return batch;
}

uint64_t EventFeed::last_number() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

uint64_t EventFeed::listen(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  listeners_.emplace(++last_listener_, std::move(wake));
  return last_listener_;
}

void EventFeed::unlisten(uint64_t listener) {
  const std::lock_guard lock(mutex_);
  listeners_.erase(listener);
}

void EventFeed::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  wake_all();
}

void EventFeed::wake_all() const {
  for (const auto& [id, wake] : listeners_) wake();
}

}  // namespace lookback::hub
