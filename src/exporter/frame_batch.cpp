#include "exporter/frame_batch.hpp"

namespace lookback::exporter {

namespace {

template <class T>
void copy_part(const std::vector<T>& from, size_t first, size_t last, std::vector<T>& to) {
  if (from.empty()) return;
  to.assign(from.begin() + static_cast<ptrdiff_t>(first),
            from.begin() + static_cast<ptrdiff_t>(last));
}

}  // namespace

std::unique_ptr<FrameBatch> copy_of(const FrameBatch& batch, size_t first, size_t last) {
  auto copy = std::make_unique<FrameBatch>();
  if (first < last) {
    const uint32_t start = batch.start_of(first), end = batch.packets[last - 1].end;
    copy->bytes.assign(batch.bytes.begin() + start, batch.bytes.begin() + end);
    copy_part(batch.packets, first, last, copy->packets);
    for (PacketRef& packet : copy->packets) packet.end -= start;
    copy_part(batch.keys, first, last, copy->keys);
    copy_part(batch.digests, first, last, copy->digests);
    for (PacketDigest& digest : copy->digests) {
      if (digest.fragment == 0) continue;
      copy->fragments.push_back(batch.fragments[digest.fragment - 1]);
      digest.fragment = static_cast<uint32_t>(copy->fragments.size());
    }
  }
  copy->interfaces = batch.interfaces;
  copy->packets_read = batch.packets_read;
  copy->unread = batch.unread;
  copy->cut_packets = batch.cut_packets;
  copy->outside_bounds = batch.outside_bounds;
  return copy;
}

}  // namespace lookback::exporter
