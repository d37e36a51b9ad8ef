#pragma once
// A store whose disk takes nothing for as long as the test wants.

#include <condition_variable>
#include <memory>
#include <mutex>

#include "lookback/store/store.hpp"

namespace lookback::test {

class StallingStore final : public store::Store {
 public:
  explicit StallingStore(store::Store& behind) : behind_(behind) {}

  /// From now on append_block() waits until resume().
  void stall() {
    const std::lock_guard lock(mutex_);
    stalled_ = true;
  }
  void resume() {
    const std::lock_guard lock(mutex_);
    stalled_ = false;
    changed_.notify_all();
  }

  Result<> append_block(std::span<std::byte> block, const store::BlockInfo& info) override {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !stalled_; });
    }
    return behind_.append_block(block, info);
  }

  Result<> register_memory(std::span<std::byte> memory) override {
    return behind_.register_memory(memory);
  }
  void set_interfaces(const std::vector<packet::Interface>& interfaces) override {
    behind_.set_interfaces(interfaces);
  }
  void add_gap(const store::Gap& gap) override { behind_.add_gap(gap); }
  void add_clock_sample(const store::ClockSample& sample) override {
    behind_.add_clock_sample(sample);
  }
  void set_complete_until(int64_t time_ns) override { behind_.set_complete_until(time_ns); }
  void tick() override { behind_.tick(); }
  Result<> seal() override { return behind_.seal(); }
  uint64_t set_reserved(uint64_t bytes) override { return behind_.set_reserved(bytes); }
  store::StoreStatus status() const override { return behind_.status(); }
  std::vector<store::ClockSample> clock_history() const override { return behind_.clock_history(); }
  std::vector<store::Gap> gaps(TimeWindow window) const override { return behind_.gaps(window); }
  Result<store::Freeze> freeze(const store::FreezeRequest& request) override {
    return behind_.freeze(request);
  }
  TimeWindow window_of(const store::FreezeRequest& request) const override {
    return behind_.window_of(request);
  }
  Result<store::Freeze> find_freeze(const std::string& id) const override {
    return behind_.find_freeze(id);
  }
  std::vector<store::Freeze> freezes() const override { return behind_.freezes(); }
  std::vector<store::FreezeLabel> freeze_labels() const override { return behind_.freeze_labels(); }
  Result<> renew_freeze(const std::string& id, int64_t time_to_live_ns) override {
    return behind_.renew_freeze(id, time_to_live_ns);
  }
  Result<> note_damage(const std::string& id, const std::vector<store::Gap>& damage) override {
    return behind_.note_damage(id, damage);
  }
  Result<> release_freeze(const std::string& id) override { return behind_.release_freeze(id); }
  Result<std::unique_ptr<store::RunReader>> read_run(const std::string& freeze_id,
                                                     size_t run) const override {
    return behind_.read_run(freeze_id, run);
  }

 private:
  store::Store& behind_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stalled_ = false;
};

}  // namespace lookback::test
