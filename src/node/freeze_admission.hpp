#pragma once
// Which freezes may be made: a share for each owner, so that nobody's orders keep another's out. Also knows those that are
// being made, so that one that is released meanwhile does not stay. Thread-safe.
//
// Whoever has the token may name any owner, so the node's own hub has a share that others cannot take: what is ordered in
// its name without its knowledge is released with the next heartbeat (FreezeService::settle).

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::node {

/// A freeze as far as it is told whose it is.
struct HeldFreeze {
  std::string id;
  std::string hub;    ///< the id of the hub that ordered it; empty: nobody said so
  std::string owner;  ///< free text
};

class FreezeAdmission {
 public:
  static constexpr size_t kMostOfOwnHub = 512;  ///< a hub makes 32 snapshots at a time
  static constexpr size_t kMostOfOwner = 64;
  static constexpr size_t kMostOfOthers = 256;  ///< of all owners but the node's hub together

  /// A freeze that is being made, for as long as this lives.
  class Entry {
   public:
    Entry(FreezeAdmission& admission, std::string id) : admission_(&admission), id_(std::move(id)) {}
    Entry(Entry&& other) noexcept
        : admission_(std::exchange(other.admission_, nullptr)), id_(std::move(other.id_)) {}
    Entry& operator=(Entry&&) = delete;
    ~Entry() {
      if (admission_ != nullptr) admission_->leave(id_);
    }
    /// It was released since: what was made has to go.
    [[nodiscard]] bool released() const { return admission_->was_released(id_); }

   private:
    FreezeAdmission* admission_;
    std::string id_;
  };

  /// `held`: what is there already. conflict: the owner's share is taken, or that of all.
  [[nodiscard]] Result<Entry> enter(const HeldFreeze& order, const std::vector<HeldFreeze>& held);
  /// To be called before the freeze itself is released.
  void release(const std::string& id);
  void set_own_hub(const std::string& hub_id);

 private:
  struct InWork {
    HeldFreeze freeze;
    size_t makers = 0;
    bool released = false;
  };
  void leave(const std::string& id);
  [[nodiscard]] bool was_released(const std::string& id);

  std::mutex mutex_;
  std::string own_hub_;
  std::map<std::string, InWork> in_work_;
};

}  // namespace lookback::node
