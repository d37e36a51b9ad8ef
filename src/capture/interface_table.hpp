#pragma once
// The machine's network interfaces, followed over rtnetlink(7) (RTM_NEWLINK, RTM_DELLINK). One thread at a time.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::capture {

struct LinkEntry {
  packet::Interface interface;
  uint16_t hardware_type = 0;  ///< ARPHRD_
  bool up = false;
  bool present = true;         ///< false: went away or got another name
  int64_t gone_ns = 0;         ///< monotonic, when present turned false
};

/// Entries keep their place while they stand; a renamed interface or one whose index was given to another gets a new entry behind the
/// old one, so the last entry with an index is the one it has now. Entries that went away stay for a while (kKeepGoneNs), because
/// packets of theirs may still be on the way.
class InterfaceTable {
 public:
  static constexpr int64_t kKeepGoneNs = 60'000'000'000;

  /// Subscribes first and lists then, so that nothing is missed in between.
  [[nodiscard]] static Result<InterfaceTable> open();

  struct Changes {
    bool table = false;    ///< an entry came, went or changed
    bool up_state = false; ///< an interface was brought up or taken down
  };
  /// Takes in what happened since; does not wait. Cheap when nothing did.
  [[nodiscard]] Result<Changes> refresh();

  /// Readable when refresh() has something to do.
  [[nodiscard]] int fd() const { return events_.get(); }
  [[nodiscard]] const std::vector<LinkEntry>& entries() const { return entries_; }

 private:
  InterfaceTable() = default;
  [[nodiscard]] Result<> list_all(Changes& changes);
  void take_message(uint16_t type, std::span<const std::byte> body, Changes& changes,
                    std::vector<uint32_t>* seen);
  void take_link(LinkEntry link, Changes& changes);
  void take_away(uint32_t index, Changes& changes);
  LinkEntry* current(uint32_t index);
  void forget_old(Changes& changes);

  Fd events_;
  std::vector<LinkEntry> entries_;
  size_t gone_ = 0;
};

}  // namespace lookback::capture
