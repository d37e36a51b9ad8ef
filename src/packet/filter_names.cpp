#include "packet/filter_names.hpp"

#include <netdb.h>
#include <sys/socket.h>

namespace lookback::packet {

namespace {
thread_local NumericNames* innermost = nullptr;
}

NumericNames::NumericNames() : before_(innermost) { innermost = this; }
NumericNames::~NumericNames() { innermost = before_; }

}  // namespace lookback::packet

using lookback::packet::innermost;

// libpcap's own, as far as they are not replaced (pcap/namedb.h).
extern "C" addrinfo* __real_pcap_nametoaddrinfo(const char* name);
extern "C" unsigned __real_pcap_nametonetaddr(const char* name);

/// Numeric addresses of IPv6 come this way as well.
extern "C" addrinfo* __wrap_pcap_nametoaddrinfo(const char* name) {
  if (innermost == nullptr) return __real_pcap_nametoaddrinfo(name);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;  // one entry an address, as libpcap asks
  hints.ai_protocol = IPPROTO_TCP;
  addrinfo* found = nullptr;
  if (getaddrinfo(name, nullptr, &hints, &found) == 0) return found;
  innermost->refuse(name);
  return nullptr;
}

extern "C" unsigned __wrap_pcap_nametonetaddr(const char* name) {
  if (innermost == nullptr) return __real_pcap_nametonetaddr(name);
  innermost->refuse(name);
  return 0;
}
