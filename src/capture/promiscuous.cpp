#include "capture/promiscuous.hpp"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cerrno>

#include "lookback/base/log.hpp"
#include "lookback/base/result.hpp"

namespace lookback::capture {

namespace {

bool change(int fd, int option, uint32_t index) {
  packet_mreq request{};
  request.mr_ifindex = static_cast<int>(index);
  request.mr_type = PACKET_MR_PROMISC;
  return setsockopt(fd, SOL_PACKET, option, &request, sizeof request) == 0;
}

}  // namespace

void PromiscuousMode::apply(int fd, const std::vector<LinkEntry>& entries,
                            const std::function<bool(const LinkEntry&)>& wanted) {
  std::set<uint32_t> now;
  for (const LinkEntry& entry : entries) {
    if (!entry.present || !wanted(entry)) continue;
    const uint32_t index = entry.interface.index;
    now.insert(index);
    if (members_.contains(index) || change(fd, PACKET_ADD_MEMBERSHIP, index)) continue;
    if (errno == ENODEV) continue;  // it has gone meanwhile: the table will say so
    log_warning("{}: only frames for this machine are recorded",
                errno_error(errno, fmt::format("interface {} does not become promiscuous",
                                               entry.interface.name))
                    .message);
  }
  for (const uint32_t index : members_) {
    // One that went away took its membership along; one that got another name may not be wanted any more.
    if (!now.contains(index)) change(fd, PACKET_DROP_MEMBERSHIP, index);
  }
  members_ = std::move(now);
}

}  // namespace lookback::capture
