#include "capture/link_programs.hpp"

#include <pcap/pcap.h>

#include <cctype>
#include <memory>
#include <mutex>
#include <optional>

#include "lookback/packet/packet.hpp"

#include "lookback/base/text.hpp"

namespace lookback::capture {
namespace {

struct PcapCloser {
  void operator()(pcap_t* handle) const { pcap_close(handle); }
};
using PcapHandle = std::unique_ptr<pcap_t, PcapCloser>;

constexpr int kCompileSnaplen = 256;  // only shows up in "ret #256"; the composer sets the real one
constexpr size_t kExamplesTried = 4;

/// The DLT_ value for a LINKTYPE_ value: the same number but for a few whose DLT_ differs between systems.
int dlt_of_link_type(uint16_t link_type) {
  switch (link_type) {
    case 100: return DLT_ATM_RFC1483;
    case 101: return DLT_RAW;
    case 102: return DLT_SLIP_BSDOS;
    case 103: return DLT_PPP_BSDOS;
    default: return link_type;
  }
}

/// An activated handle that reads `dlt` as a raw socket would, or nothing. It takes no packets for longer than it lives.
PcapHandle open_live(const std::string& interface, int dlt) {
  char message[PCAP_ERRBUF_SIZE] = "";
  PcapHandle handle(pcap_create(name_from_text(interface).c_str(), message));
  if (!handle) return nullptr;
  pcap_set_snaplen(handle.get(), kCompileSnaplen);
  pcap_set_promisc(handle.get(), 0);
  pcap_set_immediate_mode(handle.get(), 1);  // no block ring: the smallest set-up there is
  pcap_set_buffer_size(handle.get(), 64 << 10);
  if (pcap_activate(handle.get()) < 0) return nullptr;
  if (pcap_datalink(handle.get()) != dlt) return nullptr;  // "cooked": other offsets than ours
  return handle;
}

Result<std::vector<packet::BpfInstruction>> compile_with(pcap_t* handle,
                                                         const std::string& expression) {
  bpf_program program{};
  if (pcap_compile(handle, &program, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
    return fail(ErrorKind::invalid, "filter \"{}\": {}", expression, pcap_geterr(handle));
  std::vector<packet::BpfInstruction> code;
  code.reserve(program.bf_len);
  for (u_int i = 0; i < program.bf_len; ++i) {
    const bpf_insn& instruction = program.bf_insns[i];
    code.push_back({instruction.code, instruction.jt, instruction.jf, instruction.k});
  }
  pcap_freecode(&program);
  return code;
}

// Offsets from which the kernel answers or counts in another way (linux/filter.h, which clashes with libpcap's header).
constexpr uint32_t kAskKernel = 0xfffff000, kFromNetwork = 0xfff00000, kFromLink = 0xffe00000;
constexpr uint32_t kProtocol = 0, kPacketType = 4, kInterfaceIndex = 8, kHardwareType = 28;

/// Bytes of the link-layer header that files have and the kernel's frames have not: packet::put_link_header() makes it.
uint32_t made_header_bytes(uint16_t link_type) {
  constexpr uint16_t kIrda = 144, kLapd = 177, kNetlink = 253;
  switch (link_type) {
    case packet::link_type::kLinuxSll2:
      return 20;
    case kIrda:
    case kLapd:
    case kNetlink:
      return 16;
    default:
      return 0;
  }
}

/// What the kernel knows of a field of LINKTYPE_LINUX_SLL2 (its offset) or of the older header; nothing for the rest.
std::optional<uint32_t> kernel_field(bool second_version, uint32_t offset) {
  struct Row {
    uint32_t second, first, field;
  };
  constexpr uint32_t kNone = UINT32_MAX;
  constexpr Row kRows[] = {{0, 14, kProtocol}, {4, kNone, kInterfaceIndex}, {8, 2, kHardwareType}, {10, 0, kPacketType}};
  for (const Row& row : kRows)
    if ((second_version ? row.second : row.first) == offset) return kAskKernel + row.field;
  return std::nullopt;
}

/// A program for packets with such a header, made to run where it is not there yet: loads behind it count from the network header.
Result<> move_behind_header(std::vector<packet::BpfInstruction>& code, uint16_t link_type) {
  const uint32_t made = made_header_bytes(link_type);
  if (made == 0) return {};
  for (packet::BpfInstruction& instruction : code) {
    const uint16_t kind = BPF_CLASS(instruction.code), mode = BPF_MODE(instruction.code);
    const bool loads = (kind == BPF_LD && (mode == BPF_ABS || mode == BPF_IND)) || (kind == BPF_LDX && mode == BPF_MSH);
    if (!loads || instruction.k >= kFromLink) continue;
    if (instruction.k >= made) {
      instruction.k = kFromNetwork + instruction.k - made;
      continue;
    }
    const auto field = mode == BPF_ABS ? kernel_field(made == 20, instruction.k) : std::nullopt;
    if (!field) return fail(ErrorKind::invalid, "the filter asks for a part of the link-layer header that is not there while recording");
    instruction.k = *field;
  }
  return {};
}

}  // namespace

Result<LinkProgram> compile_for_link(const std::string& expression, uint16_t link_type,
                                     const std::vector<std::string>& examples) {
  if (expression.empty()) return LinkProgram{};
  static std::mutex mutex;  // name look-ups inside libpcap share static storage
  const std::lock_guard lock(mutex);

  const int dlt = dlt_of_link_type(link_type);
  LinkProgram program;
  PcapHandle handle;
  for (size_t i = 0; i < examples.size() && i < kExamplesTried && !handle; ++i)
    handle = open_live(examples[i], dlt);
  program.live = handle != nullptr;
  if (!handle) handle.reset(pcap_open_dead(dlt, kCompileSnaplen));
  if (!handle) return fail(ErrorKind::failed, "libpcap gives no handle for link type {}", link_type);
  TRY_ASSIGN(program.code, compile_with(handle.get(), expression));
  TRY(move_behind_header(program.code, link_type));
  return program;
}

bool mentions_vlan(const std::string& expression) {
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
  };
  constexpr std::string_view kWord = "vlan";
  for (size_t at = expression.find(kWord); at != std::string::npos;
       at = expression.find(kWord, at + 1)) {
    const size_t end = at + kWord.size();
    if ((at == 0 || !is_word(expression[at - 1])) &&
        (end == expression.size() || !is_word(expression[end])))
      return true;
  }
  return false;
}

}  // namespace lookback::capture
