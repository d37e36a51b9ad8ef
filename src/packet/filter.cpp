#include "lookback/packet/filter.hpp"

#include <pcap/pcap.h>

#include <algorithm>
#include <mutex>

#include "lookback/packet/packet.hpp"
#include "packet/filter_code.hpp"

namespace lookback::packet {

namespace {

static_assert(sizeof(bpf_insn) == sizeof(BpfInstruction));
static_assert(offsetof(bpf_insn, k) == offsetof(BpfInstruction, k));
static_assert(offsetof(bpf_insn, jt) == offsetof(BpfInstruction, jump_true));

/// libpcap counts link types in its own DLT_ numbers, which differ from those in files for a few
/// old ones.
int data_link_type(uint16_t link_type) {
  switch (link_type) {
    case 100:
      return DLT_ATM_RFC1483;
    case link_type::kRaw:
      return DLT_RAW;
    case 102:
      return DLT_SLIP_BSDOS;
    case 103:
      return DLT_PPP_BSDOS;
    case 106:
      return DLT_ATM_CLIP;
    default:
      return link_type;
  }
}

struct Handle {
  explicit Handle(int data_link) : pcap(pcap_open_dead(data_link, 262144)) {}
  ~Handle() {
    pcap_freecode(&program);
    if (pcap != nullptr) pcap_close(pcap);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  pcap_t* pcap;
  bpf_program program{};
};

/// On the dead handle of a live capture's link type, "inbound" and the like become questions to the
/// kernel.
bool asks_the_kernel(const BpfInstruction& instruction) {
  return (instruction.code & 0x07) == bpf::kLd && (instruction.code & 0xe0) == bpf::kAbs &&
         instruction.k >= bpf::kAncillary;
}

}  // namespace

Result<Filter> Filter::from_program(std::vector<BpfInstruction> program) {
  TRY_ASSIGN(FilterCode code, prepare_filter(program));
  Filter filter;
  filter.program_ = std::move(program);
  filter.code_ = std::make_shared<const FilterCode>(std::move(code));
  return filter;
}

Result<Filter> Filter::compile(const std::string& expression, uint16_t link_type) {
  static std::mutex compiler;
  if (expression.find_first_not_of(" \t\r\n") == std::string::npos) return Filter();
  if (expression.find('\0') != std::string::npos)
    return fail(ErrorKind::invalid, "the filter has a zero byte in it");
  std::vector<BpfInstruction> program;
  {
    const std::lock_guard lock(compiler);
    Handle handle(data_link_type(link_type));
    if (handle.pcap == nullptr)
      return fail(ErrorKind::failed, "libpcap cannot make a filter: out of memory");
    constexpr int kOptimize = 1;
    if (pcap_compile(handle.pcap, &handle.program, expression.c_str(), kOptimize,
                     PCAP_NETMASK_UNKNOWN) != 0) {
      const std::string_view message = pcap_geterr(handle.pcap);
      if (message == "expression rejects all packets") return from_program({{kReturn, 0, 0, 0}});
      return fail(ErrorKind::invalid, "filter '{}': {}", expression, message);
    }
    const std::span<const bpf_insn> made(handle.program.bf_insns, handle.program.bf_len);
    program.reserve(made.size());
    for (const bpf_insn& insn : made) program.push_back({insn.code, insn.jt, insn.jf, insn.k});
  }
  if (std::any_of(program.begin(), program.end(), asks_the_kernel))
    return fail(
        ErrorKind::invalid,
        "filter '{}': recorded packets do not have what it asks for (inbound, outbound, ifindex)",
        expression);
  return from_program(std::move(program));
}

}  // namespace lookback::packet
