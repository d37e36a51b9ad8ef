#include "node/freeze_admission.hpp"

namespace lookback::node {
namespace {

bool same_owner(const HeldFreeze& a, const HeldFreeze& b) {
  return a.hub == b.hub && (!a.hub.empty() || a.owner == b.owner);
}

std::string name_of(const HeldFreeze& freeze) {
  if (!freeze.hub.empty()) return fmt::format("hub {}", freeze.hub.substr(0, 64));
  return freeze.owner.empty() ? "callers who name no owner" : fmt::format("'{}'", freeze.owner.substr(0, 64));
}

}  // namespace

Result<FreezeAdmission::Entry> FreezeAdmission::enter(const HeldFreeze& order,
                                                      const std::vector<HeldFreeze>& held) {
  const std::lock_guard lock(mutex_);
  std::map<std::string, const HeldFreeze*> present;
  for (const HeldFreeze& freeze : held) present.emplace(freeze.id, &freeze);
  for (const auto& [id, work] : in_work_) present.emplace(id, &work.freeze);
  present.erase(order.id);  // the same one again
  const auto is_own = [&](const HeldFreeze& freeze) {
    return !own_hub_.empty() && freeze.hub == own_hub_;
  };
  size_t of_owner = 0, of_others = 0;
  for (const auto& [id, freeze] : present) {
    if (same_owner(*freeze, order)) ++of_owner;
    if (!is_own(*freeze)) ++of_others;
  }
  const size_t share = is_own(order) ? kMostOfOwnHub : kMostOfOwner;
  if (of_owner >= share)
    return fail(ErrorKind::conflict,
                "{} freezes of {} are kept here already, and an owner has {} at most: release some first",
                of_owner, name_of(order), share);
  if (!is_own(order) && of_others >= kMostOfOthers)
    return fail(ErrorKind::conflict,
                "{} freezes of all owners but the node's hub are kept here already, and that is the most: "
                "release some first",
                of_others);
  InWork& work = in_work_[order.id];
  if (work.makers++ == 0) work.freeze = order;
  return Entry(*this, order.id);
}

void FreezeAdmission::release(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = in_work_.find(id); found != in_work_.end()) found->second.released = true;
}

void FreezeAdmission::set_own_hub(const std::string& hub_id) {
  const std::lock_guard lock(mutex_);
  own_hub_ = hub_id;
}

void FreezeAdmission::leave(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = in_work_.find(id);
  if (found != in_work_.end() && --found->second.makers == 0) in_work_.erase(found);
}

bool FreezeAdmission::was_released(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = in_work_.find(id);
  return found != in_work_.end() && found->second.released;
}

}  // namespace lookback::node
