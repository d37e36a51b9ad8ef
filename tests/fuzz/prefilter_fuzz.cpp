// Input: an expression, a zero byte, an Ethernet frame. Where libpcap takes the expression and the
// frame matches, the prefilter must let a run of packets through that holds the frame.
#include <algorithm>
#include <array>
#include <string_view>

#include "lookback/base/result.hpp"
#include "lookback/packet/filter.hpp"
#include "lookback/packet/packet.hpp"
#include "lookback/packet/summary.hpp"

using namespace lookback::packet;

namespace {

constexpr std::string_view kWords[] = {
    "host",     "net",       "port",      "portrange", "src",      "dst",     "and",
    "or",       "not",       "ip",        "ip6",       "arp",      "rarp",    "tcp",
    "udp",      "sctp",      "icmp",      "icmp6",     "ether",    "proto",   "protochain",
    "vlan",     "mpls",      "pppoes",    "pppoed",    "geneve",   "len",     "less",
    "greater",  "broadcast", "multicast", "mask",      "link",     "ah",      "esp",
    "igmp",     "iso",       "stp",       "llc",       "tcpflags", "tcp-syn", "tcp-fin",
    "icmptype", "icmp-echo", "atalk",     "decnet",    "ipx"};

/// libpcap asks the resolver for every other word; a fuzzer must not.
bool needs_no_resolver(std::string_view text) {
  const auto in_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  };
  for (size_t at = 0; at < text.size();) {
    if (!in_word(text[at])) {
      if (text[at] == '\\' || text[at] == '$') return false;
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && in_word(text[end])) ++end;
    const std::string_view word = text.substr(at, end - at);
    const bool numeric = word.find_first_not_of("0123456789.-") == std::string_view::npos;
    const bool hex = word.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
                     ((at > 0 && text[at - 1] == ':') || (end < text.size() && text[end] == ':'));
    if (!numeric && !hex && !std::ranges::count(kWords, word)) return false;
    at = end;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view expression = input.substr(0, input.find('\0'));
  const Prefilter prefilter = Prefilter::of_expression(expression);
  LOOKBACK_CHECK(prefilter.matches_anything() == (prefilter.to_string() == "anything"));
  LOOKBACK_CHECK(prefilter.may_match(Summary()));
  constexpr size_t kLongestForLibpcap = 200;  // its optimizer takes long over some long ones
  if (expression.size() > kLongestForLibpcap || expression.size() == size ||
      !needs_no_resolver(expression))
    return 0;
  const auto filter = Filter::compile(std::string(expression), link_type::kEthernet);
  if (!filter) return 0;
  const auto frame = std::as_bytes(std::span(data, size)).subspan(expression.size() + 1);
  if (!filter->matches(frame, static_cast<uint32_t>(frame.size()))) return 0;
  SummaryBuilder builder;
  builder.add(decode(link_type::kEthernet, frame));
  LOOKBACK_CHECK(prefilter.may_match(builder.take()));
  return 0;
}
