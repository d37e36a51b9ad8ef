#pragma once
// pcapng (draft-ietf-opsawg-pcapng) and classic pcap (draft-ietf-opsawg-pcap), written and read.
// The writer appends to a caller's buffer in host byte order (little-endian); the reader takes both
// orders, every block type (unknown ones are skipped), several sections, any time resolution, and
// any bytes at all: what is wrong comes back as an Error with the offset. The exporter's fast path
// over our own sections is section_walker.hpp. Free functions may run on any thread; a reader
// belongs to one.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::packet {

using Buffer = std::vector<std::byte>;

inline constexpr uint32_t kPcapngSectionHeader = 0x0A0D0D0A, kPcapngInterface = 1,
                          kPcapngSimplePacket = 3, kPcapngNameResolution = 4, kPcapngStatistics = 5,
                          kPcapngEnhancedPacket = 6, kPcapngDecryptionSecrets = 10,
                          /// Named by no draft, but by Apple's tools and read by Wireshark: a process
                          /// that packets of the section refer to by the block's number in it.
                          kPcapngProcess = 0x80000001;
/// Option codes used here.
inline constexpr uint16_t kOptEnd = 0, kOptComment = 1, kEpbFlags = 2, kEpbDropCount = 4,
                          kEpbProcess = 8,
                          /// In process blocks, and the number of such a block in packets.
                          kProcessName = 2, kEpbProcessBlock = 0x8001;

/// The earliest and the latest stamp that a member, its manifest and an export can say: 1970, and the
/// last nanosecond but one of 2261.
inline constexpr int64_t kEarliestStampNs = 0, kLatestStampNs = 9'214'646'399'999'999'998;

/// A process that packets refer to (kPcapngProcess).
struct PcapngProcess {
  uint32_t pid = 0;
  std::string name;
  friend auto operator<=>(const PcapngProcess&, const PcapngProcess&) = default;
};

/// What an Interface Description Block says. Times are always in nanoseconds (if_tsresol 9).
struct PcapngInterface {
  std::string name;
  std::string description;  ///< "node web-1"
  uint16_t link_type = link_type::kEthernet;
  uint32_t snaplen = 0;  ///< 0: no limit
  std::string filter;    ///< pcap-filter text, empty for none
  std::string os;
  /// How many interfaces of the same name and link type its recorder had before it: 1 is the second.
  uint32_t same_name = 0;
  /// Its further options but for times: little-endian, padded, without the end marker.
  Buffer options{};
  friend bool operator==(const PcapngInterface&, const PcapngInterface&) = default;
};

/// What an Interface Statistics Block says; a start or end of 0 is left out.
struct PcapngStatistics {
  uint32_t interface = 0;
  int64_t time_ns = 0, start_ns = 0, end_ns = 0;
  std::optional<uint64_t> received, dropped;
  std::string comment;
};

/// A count of what a capture file says that is not handed on.
using LeftOut = std::map<std::string, uint64_t>;

/// Each function appends one whole block to `out`. Texts longer than an option can be (65535 bytes)
/// are cut, times before 1970 become 1970: neither format can say them.
void append_section_header(Buffer& out, std::string_view application,
                           std::string_view comment = {});
void append_interface(Buffer& out, const PcapngInterface& interface);
/// `packet.interface` is the index of the interface block within the section; comments may be
/// empty.
void append_packet(Buffer& out, const PacketView& packet,
                   std::span<const std::string> comments = {});
void append_statistics(Buffer& out, const PcapngStatistics& statistics);
/// secrets_type as in the pcapng draft (TLS key log: 0x544c534b).
void append_decryption_secrets(Buffer& out, uint32_t secrets_type, std::string_view secrets);
void append_process(Buffer& out, const PcapngProcess& process);
/// Bytes that append_packet will append for a packet without comments; `with_flags` where its
/// direction or reception is known.
[[nodiscard]] size_t packet_block_size(size_t captured_length, bool with_flags);
[[nodiscard]] size_t packet_block_size(const PacketView& packet);
/// What append_packet appends without comments, into packet_block_size(packet) bytes.
void write_packet(std::byte* out, const PacketView& packet);
/// The same with further options: whole, padded, without the end marker. They hold the flags as well
/// where there are any; those of `packet` are not written.
[[nodiscard]] size_t packet_block_size(const PacketView& packet, std::span<const std::byte> options);
void write_packet(std::byte* out, const PacketView& packet, std::span<const std::byte> options);

/// Adds a comment to options as write_packet() takes them; where they are empty, the packet's flags
/// go first.
void append_packet_comment(Buffer& options, const PacketView& packet, std::string_view comment);

/// What the second word of a classic pcap record counts (draft-ietf-opsawg-pcap, section 4): magic
/// 0xa1b23c4d and 0xa1b2c3d4.
enum class PcapStamps { nanoseconds, microseconds };
/// A snaplen of 0 is written as 262144, the largest packet that readers take without suspicion.
void append_pcap_header(Buffer& out, uint16_t link_type, uint32_t snaplen,
                        PcapStamps stamps = PcapStamps::nanoseconds);
/// In nanoseconds.
void append_pcap_record(Buffer& out, const PacketView& packet);

/// A time stamp as a capture file has it: ticks of if_tsresol, and if_tsoffset.
struct RawStamp {
  uint64_t ticks = 0;
  uint8_t resolution = 9;  ///< bit 7: power of 2, otherwise of 10; the rest is the negated exponent
  int64_t offset_seconds = 0;
  /// Seconds since 1970 with all digits: "1700000000000.000001".
  [[nodiscard]] std::string text() const;
};

/// How well view.time_ns says what the file says.
enum class StampState : uint8_t {
  exact,
  finer,    ///< the file's has parts of a nanosecond, which are cut
  outside,  ///< the file's is before kEarliestStampNs or behind kLatestStampNs
  absent    ///< the file has none for this packet (simple packet blocks)
};

/// A packet as read: `view.interface` indexes interfaces() of the reader, which only grows.
/// Sections are flattened: an interface block that says the same as one of an earlier section is
/// the same interface, unless its packets begin before the other's end: then two were recorded.
/// Pseudo-headers are in host byte order (see pseudo_header.hpp). Lengths are the file's: an
/// original_length below the captured one is handed on.
struct ReadPacket {
  static constexpr uint32_t kNoProcess = UINT32_MAX;

  PacketView view;  ///< time_ns is 0 where the stamp is absent; clamped to int64_t
  StampState stamp_state = StampState::exact;
  RawStamp stamp;
  std::string_view first_comment;
  uint64_t drop_count = 0;  ///< packets lost before this one, where the recorder said so
  uint32_t process = kNoProcess;  ///< indexes processes() of the reader
  /// The packet's options where it has others than direction and reception: as write_packet() takes
  /// them, the number of a process block left out.
  std::span<const std::byte> options;
};

/// The last Interface Statistics Block of an interface: counts from the start of its recording.
struct ReadStatistics {
  std::optional<int64_t> start_ns, end_ns;
  std::optional<uint64_t> received, dropped_by_interface, accepted, dropped_by_system, delivered;
  /// The larger count of losses, as recorders tell the same ones in both; nothing where neither is there.
  [[nodiscard]] std::optional<uint64_t> lost() const;
};

/// Reads pcap and pcapng from a source of bytes. Memory: one block (at most 16 MiB; larger is an
/// error) and the interface table (at most 65536). One thread. After an error the reader stays at
/// it: everything before was handed out.
class CaptureReader {
 public:
  /// Fills the span, returns how many bytes it gave (0 at the end).
  using Source = std::function<Result<size_t>(std::span<std::byte>)>;
  /// Reads the magic; kind invalid when it is neither pcap (µs or ns, both byte orders, also with
  /// the longer record headers of magic 0xa1b2cd34) nor pcapng. The source lives as long as the
  /// reader.
  [[nodiscard]] static Result<CaptureReader> open(Source source);
  /// The next packet, or nothing at the end. Views live until the next call. Kind corrupt, with the
  /// offset in the file, for a file that is cut or damaged; the source's own errors come back as
  /// they are.
  [[nodiscard]] Result<std::optional<ReadPacket>> next();
  /// The table so far; the reference is good for the reader's life, its contents grow with next().
  [[nodiscard]] const std::vector<PcapngInterface>& interfaces() const;
  [[nodiscard]] bool is_pcapng() const;
  [[nodiscard]] const std::vector<PcapngProcess>& processes() const;
  /// By interface; may be shorter than interfaces(). Complete at the end of the file.
  [[nodiscard]] const std::vector<std::optional<ReadStatistics>>& statistics() const;
  /// What sections say of who wrote them: hardware, system, application, comment, each once.
  [[nodiscard]] const std::vector<std::string>& origins() const;
  /// Blocks and options so far that are not handed out, by name.
  [[nodiscard]] const LeftOut& left_out() const;

  CaptureReader(CaptureReader&&) noexcept;
  CaptureReader& operator=(CaptureReader&&) noexcept;
  ~CaptureReader();

 private:
  CaptureReader();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lookback::packet
