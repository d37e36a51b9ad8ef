#include "exporter/process_table.hpp"

#include <utility>

namespace lookback::exporter {

namespace {
constexpr size_t kMostRemembered = 100'000;
}  // namespace

uint32_t ProcessTable::number_of(uint32_t node, const packet::PcapngProcess& process) {
  const std::lock_guard lock(mutex_);
  if (numbers_.size() >= kMostRemembered) numbers_.clear();
  const auto [at, fresh] = numbers_.try_emplace(fmt::format("{} {} {}", node, process.pid, process.name), count_);
  if (fresh) {
    ++count_;
    packet::append_process(new_blocks_, process);
  }
  return at->second;
}

void ProcessTable::take_new(packet::Buffer& out) {
  const std::lock_guard lock(mutex_);
  out.insert(out.end(), new_blocks_.begin(), new_blocks_.end());
  new_blocks_.clear();
}

}  // namespace lookback::exporter
