#include "lookback/packet/filter.hpp"

#include <pcap/pcap.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>

#include "lookback/packet/packet.hpp"
#include "packet/filter_code.hpp"
#include "packet/filter_names.hpp"

namespace lookback::packet {

namespace {

/// With more terms than this, libpcap's optimizer would take more than a second.
constexpr size_t kMaxOptimizedTerms = 128;
constexpr uint16_t kEnc = 109;             // LINKTYPE_ENC: OpenBSD's IPsec
constexpr uint16_t kReturnNothing = 0x06;  // BPF_RET | BPF_K

static_assert(sizeof(bpf_insn) == sizeof(BpfInstruction));
static_assert(offsetof(bpf_insn, k) == offsetof(BpfInstruction, k));
static_assert(offsetof(bpf_insn, jt) == offsetof(BpfInstruction, jump_true));

/// A handle on a capture file without packets. What libpcap compiles differs between files and live captures: byte orders and address
/// families of BSD's loopback are tried all, directions are refused where the link type does not record them.
class FileHandle {
 public:
  FileHandle(uint16_t link_type, bool other_order)
      : header_{kMagic, 2 | 4u << 16, 0, 0, kSnapLength, link_type} {
    if (other_order) {
      for (uint32_t& word : header_) word = __builtin_bswap32(word);
      header_[1] = header_[1] << 16 | header_[1] >> 16;  // two numbers of 16 bits
    }
    FILE* file = fmemopen(header_.data(), sizeof header_, "rb");
    if (file == nullptr) return;
    char message[PCAP_ERRBUF_SIZE] = "";
    pcap_ = pcap_fopen_offline(file, message);  // takes the file
    if (pcap_ == nullptr) (void)fclose(file);
  }
  ~FileHandle() {
    pcap_freecode(&program_);
    if (pcap_ != nullptr) pcap_close(pcap_);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;

  [[nodiscard]] bool is_open() const { return pcap_ != nullptr; }
  [[nodiscard]] bool compile(const std::string& expression, bool optimize) {
    return pcap_compile(pcap_, &program_, expression.c_str(), optimize ? 1 : 0, PCAP_NETMASK_UNKNOWN) == 0;
  }
  [[nodiscard]] std::string_view error() const { return pcap_geterr(pcap_); }
  [[nodiscard]] std::span<const bpf_insn> program() const { return {program_.bf_insns, program_.bf_len}; }

 private:
  static constexpr uint32_t kMagic = 0xa1b2c3d4, kSnapLength = 262144;
  std::array<uint32_t, 6> header_;
  pcap_t* pcap_ = nullptr;
  bpf_program program_{};
};

/// Words and numbers other than those that join or qualify: what libpcap's time grows with, by its square.
size_t terms_of(std::string_view expression) {
  constexpr std::string_view kJoining[] = {"and", "or", "not", "src", "dst", "host", "net", "port", "portrange", "ip", "ip6", "tcp", "udp"};
  const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("._:-\\").find(c) != std::string_view::npos; };
  size_t terms = 0;
  for (size_t at = 0; at < expression.size();) {
    if (!in_word(expression[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < expression.size() && in_word(expression[end])) ++end;
    const std::string_view word = expression.substr(at, end - at);
    terms += std::find(std::begin(kJoining), std::end(kJoining), word) == std::end(kJoining);
    at = end;
  }
  return terms;
}

Result<std::vector<BpfInstruction>> compile_for_file(const std::string& expression, uint16_t link_type, bool other_order) {
  FileHandle handle(link_type, other_order);
  if (!handle.is_open()) return fail(ErrorKind::failed, "libpcap cannot make a filter: out of memory");
  const NumericNames numeric;
  if (!handle.compile(expression, terms_of(expression) <= kMaxOptimizedTerms)) {
    if (!numeric.refused().empty())
      return fail(ErrorKind::invalid, "filter '{}': '{}' is a name, and names are not looked up: give its address", expression,
                  numeric.refused());
    if (handle.error() == "expression rejects all packets") return std::vector<BpfInstruction>{{kReturnNothing, 0, 0, 0}};
    return fail(ErrorKind::invalid, "filter '{}': {}", expression, handle.error());
  }
  std::vector<BpfInstruction> program;
  program.reserve(handle.program().size());
  for (const bpf_insn& insn : handle.program()) program.push_back({insn.code, insn.jt, insn.jf, insn.k});
  return program;
}

}  // namespace

Result<> Filter::check_size(std::string_view expression) {
  if (expression.size() > kMaxBytes)
    return fail(ErrorKind::invalid, "the filter has {} bytes, {} are allowed: --ip takes any number of addresses and networks", expression.size(),
                kMaxBytes);
  if (const size_t terms = terms_of(expression); terms > kMaxTerms)
    return fail(ErrorKind::invalid,
                "the filter has {} terms, {} are allowed: 'net' and 'portrange' say much in one, and --ip takes any number of addresses",
                terms, kMaxTerms);
  return {};
}

Result<Filter> Filter::from_program(std::vector<BpfInstruction> program) {
  TRY_ASSIGN(FilterCode code, prepare_filter(program));
  Filter filter;
  filter.program_ = std::move(program);
  filter.code_ = std::make_shared<const FilterCode>(std::move(code));
  return filter;
}

Result<Filter> Filter::compile(const std::string& expression, uint16_t link_type) {
  if (expression.find_first_not_of(" \t\r\n") == std::string::npos) return Filter();
  if (expression.find('\0') != std::string::npos)
    return fail(ErrorKind::invalid, "the filter has a zero byte in it");
  TRY(check_size(expression));
  TRY_ASSIGN(auto program, compile_for_file(expression, link_type, false));
  TRY_ASSIGN(Filter filter, from_program(std::move(program)));
  // libpcap expects the byte order of the file that it reads. Which file a packet came from is not known here, its own order is.
  if (link_type == link_type::kNull || link_type == kEnc) {
    TRY_ASSIGN(const auto other, compile_for_file(expression, link_type, true));
    TRY_ASSIGN(FilterCode code, prepare_filter(other));
    auto both = std::make_shared<FilterCode>(*filter.code_);
    both->other_order = std::make_shared<const FilterCode>(std::move(code));
    filter.code_ = std::move(both);
  }
  return filter;
}

}  // namespace lookback::packet
