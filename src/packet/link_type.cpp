#include <linux/if_arp.h>

#include "packet/link_header.hpp"

namespace lookback::packet {

// Not in every <net/if_arp.h>.
namespace {
constexpr uint16_t kArphrdIpOverFibreChannel = 18, kArphrdLapd = 8445, kArphrdRawIp = 519, kArphrdIp6Gre = 823, kArphrdVsockmon = 826;
}

uint16_t link_type_of_hardware(uint16_t arphrd) {
  switch (arphrd) {
    case ARPHRD_ETHER:
    case ARPHRD_METRICOM:
    case ARPHRD_LOOPBACK:
      return link_type::kEthernet;
    // Devices without a link-layer header, and those (GRE) whose link-layer header is an IP header:
    // either way the first byte says which IP it is.
    case ARPHRD_NONE:
    case ARPHRD_PPP:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case kArphrdIp6Gre:
    case kArphrdRawIp:
    case ARPHRD_SLIP:
    case ARPHRD_CSLIP:
    case ARPHRD_SLIP6:
    case ARPHRD_CSLIP6:
    case ARPHRD_ADAPT:
    case ARPHRD_RAWHDLC:
    case ARPHRD_DLCI:
      return link_type::kRaw;
    case ARPHRD_EETHER:
      return 2;
    case ARPHRD_AX25:
      return 202;
    case ARPHRD_PRONET:
      return 4;
    case ARPHRD_CHAOS:
      return 5;
    case ARPHRD_IEEE802:
    case ARPHRD_IEEE802_TR:
      return 6;
    case ARPHRD_ARCNET:
      return 129;
    case ARPHRD_FDDI:
      return 10;
    case ARPHRD_CISCO:
      return 104;
    case ARPHRD_FRAD:
      return 107;
    case ARPHRD_LOCALTLK:
      return 114;
    case ARPHRD_IEEE80211:
      return 105;
    case ARPHRD_IEEE80211_PRISM:
      return 119;
    case ARPHRD_IEEE80211_RADIOTAP:
      return link_type::kIeee80211Radiotap;
    case ARPHRD_IEEE802154:
      return 230;
    case ARPHRD_CAN:
      return kSocketCan;
    case ARPHRD_NETLINK:
      return kNetlink;
    case ARPHRD_IRDA:
      return kLinuxIrda;
    case kArphrdLapd:
      return kLinuxLapd;
    case kArphrdIpOverFibreChannel:
      return 122;
    case ARPHRD_FCPP:
    case ARPHRD_FCAL:
    case ARPHRD_FCPL:
    case ARPHRD_FCFABRIC:
      return 224;
    case kArphrdVsockmon:
      return 271;
    default:
      return link_type::kLinuxSll2;
  }
}

}  // namespace lookback::packet
