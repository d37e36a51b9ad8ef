#include <linux/if_packet.h>

#include "lookback/capture/capture.hpp"

namespace lookback::capture {

Block& Block::operator=(Block&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  memory_ = std::exchange(other.memory_, {});
  status_ = std::exchange(other.status_, nullptr);
  lease_ = std::exchange(other.lease_, nullptr);
  packets = other.packets;
  used_bytes = other.used_bytes;
  first_packet = other.first_packet;
  first_ns = other.first_ns;
  last_ns = other.last_ns;
  return *this;
}

void Block::give_back() {
  if (status_ == nullptr) return;
  // Everything read from and written to the block comes before the kernel may fill it again.
  std::atomic_ref(*status_).store(TP_STATUS_KERNEL, std::memory_order_release);
  if (lease_ != nullptr) lease_->store(false, std::memory_order_release);
  status_ = nullptr;
  lease_ = nullptr;
  memory_ = {};
}

}  // namespace lookback::capture
