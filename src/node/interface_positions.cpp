#include "node/interface_positions.hpp"

#include <algorithm>
#include <utility>

namespace lookback::node {
namespace {

size_t first_slot(uint32_t index, size_t slots) { return (index * 2654435761U) & (slots - 1); }

const packet::Interface* latest(const std::vector<packet::Interface>& list, uint32_t index) {
  for (auto entry = list.rbegin(); entry != list.rend(); ++entry)
    if (entry->index == index) return &*entry;
  return nullptr;
}

}  // namespace

uint32_t InterfacePositions::find_slow(uint32_t index) {
  for (size_t slot = first_slot(index, slots_.size());; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].position == kUnknown) return kUnknown;
    if (slots_[slot].index == index) {
      last_index_ = index;
      last_position_ = slots_[slot].position;
      return last_position_;
    }
  }
}

uint32_t InterfacePositions::add(packet::Interface interface) {
  const uint32_t index = interface.index;
  const auto position = static_cast<uint32_t>(table_.size());
  table_.push_back(std::move(interface));
  if (table_.size() * 2 > slots_.size())
    rebuild();
  else
    insert(index, position);
  return position;
}

void InterfacePositions::insert(uint32_t index, uint32_t position) {
  size_t slot = first_slot(index, slots_.size());
  while (slots_[slot].position != kUnknown) slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = {index, position};
}

void InterfacePositions::rebuild() {
  size_t size = 64;
  while (size < table_.size() * 2) size *= 2;
  slots_.assign(size, {});
  for (size_t i = 0; i < table_.size(); ++i) insert(table_[i].index, static_cast<uint32_t>(i));
  last_index_ = 0;
  last_position_ = kUnknown;
}

bool InterfacePositions::differs(const std::vector<packet::Interface>& current) const {
  return std::any_of(table_.begin(), table_.end(), [&](const packet::Interface& entry) {
    const auto* now = latest(current, entry.index);
    return now != nullptr ? *now != entry : table_.size() > kPruneAbove;
  });
}

bool InterfacePositions::update(const std::vector<packet::Interface>& current) {
  if (!differs(current)) return false;
  if (table_.size() > kPruneAbove)
    std::erase_if(table_, [&](const auto& entry) { return latest(current, entry.index) == nullptr; });
  for (auto& entry : table_)
    if (const auto* now = latest(current, entry.index)) entry = *now;
  rebuild();
  return true;
}

}  // namespace lookback::node
