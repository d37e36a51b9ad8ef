// Classic pcap (draft-ietf-opsawg-pcap): a 24-byte header, then records. Old files that
// https://wiki.wireshark.org/Development/LibpcapFileFormat describes are taken too.

#include "lookback/base/time.hpp"
#include "packet/byte_stream.hpp"
#include "packet/pcapng_blocks.hpp"
#include "packet/pseudo_header.hpp"

namespace lookback::packet {

namespace {

constexpr uint32_t kMicrosecondMagic = 0xa1b2c3d4, kNanosecondMagic = 0xa1b23c4d, kLongRecordMagic = 0xa1b2cd34;
constexpr size_t kFileHeader = 24, kRecordHeader = 16, kLongRecordHeader = 24;
// The upper bits of the link type's word tell of frame check sequences.
constexpr uint32_t kLinkTypeMask = 0x03ffffff;

class PcapReader final : public FormatReader {
 public:
  explicit PcapReader(ByteStream stream) : stream_(std::move(stream)) {}

  Result<> open() {
    TRY_ASSIGN(const bool has_header, stream_.fill(kFileHeader));
    const std::byte* header = stream_.data();
    const auto magic = load<uint32_t>(header);
    order_.swapped = magic == __builtin_bswap32(kMicrosecondMagic) ||
                     magic == __builtin_bswap32(kNanosecondMagic) ||
                     magic == __builtin_bswap32(kLongRecordMagic);
    switch (order_.u32(header)) {
      case kMicrosecondMagic:
        break;
      case kNanosecondMagic:
        tick_ns_ = 1;
        break;
      case kLongRecordMagic:
        record_header_ = kLongRecordHeader;
        break;
      default:
        return unknown(load_be32(header));
    }
    if (!has_header) return fail(ErrorKind::corrupt, "the pcap file ends inside its header");
    const uint16_t major = order_.u16(header + 4), minor = order_.u16(header + 6);
    constexpr uint16_t kMajorOfDgux = 543;
    if (major != 2 && major != kMajorOfDgux)
      return fail(ErrorKind::invalid, "pcap version {}.{} is not known", major, minor);
    if (major == 2 && minor < 3) lengths_ = Lengths::exchanged;
    if ((major == 2 && minor == 3) || major == kMajorOfDgux) lengths_ = Lengths::perhaps_exchanged;
    const uint32_t link_type = order_.u32(header + 20) & kLinkTypeMask;
    if (link_type > UINT16_MAX)
      return fail(ErrorKind::invalid, "the pcap file has the unknown link type {}", link_type);
    PcapngInterface interface;
    interface.link_type = static_cast<uint16_t>(link_type);
    interface.snaplen = order_.u32(header + 16);
    interfaces.push_back(std::move(interface));
    pending_ = kFileHeader;
    return {};
  }

  Result<std::optional<ReadPacket>> next() override {
    stream_.consume(std::exchange(pending_, 0));
    TRY_ASSIGN(const bool has_header, stream_.fill(record_header_));
    if (!has_header) {
      if (stream_.available() == 0) return std::optional<ReadPacket>{};
      return cut();
    }
    uint32_t captured = order_.u32(stream_.data() + 8);
    uint32_t original = order_.u32(stream_.data() + 12);
    if (lengths_ == Lengths::exchanged ||
        (lengths_ == Lengths::perhaps_exchanged && captured > original))
      std::swap(captured, original);
    if (captured > kMaxBlockBytes)
      return fail(ErrorKind::corrupt, "a packet of {} bytes at offset {} of the pcap file",
                  captured, stream_.offset());
    TRY_ASSIGN(const bool whole, stream_.fill(record_header_ + captured));
    if (!whole) return cut();
    std::byte* const record = stream_.data();
    ReadPacket packet;
    // Seconds are unsigned: 1970 to 2106.
    packet.view.time_ns =
        int64_t{order_.u32(record)} * kNsPerSecond + int64_t{order_.u32(record + 4)} * tick_ns_;
    const std::span<std::byte> data(record + record_header_, captured);
    if (order_.swapped) swap_pseudo_header(interfaces.front().link_type, data);
    packet.view.data = data;
    packet.view.original_length = original;
    pending_ = record_header_ + captured;
    return std::optional(packet);
  }

 private:
  enum class Lengths { straight, exchanged, perhaps_exchanged };

  static tl::unexpected<Error> unknown(uint32_t first_bytes) {
    struct Packing {
      uint32_t first_bytes, mask;
      const char* program;
    };
    constexpr Packing kPackings[] = {{0x1f8b0000, 0xffff0000, "gzip"},
                                     {0x28b52ffd, 0xffffffff, "zstd"},
                                     {0xfd377a58, 0xffffffff, "xz"},
                                     {0x04224d18, 0xffffffff, "lz4"},
                                     {0x425a6800, 0xffffff00, "bzip2"}};
    for (const Packing& packing : kPackings) {
      if ((first_bytes & packing.mask) == packing.first_bytes)
        return fail(ErrorKind::invalid, "the file is compressed; unpack it first with {} -d",
                    packing.program);
    }
    return fail(ErrorKind::invalid,
                "no capture file: pcap and pcapng can be read, this begins with {:08x}",
                first_bytes);
  }

  tl::unexpected<Error> cut() const {
    return fail(ErrorKind::corrupt, "the pcap file ends inside the packet at offset {}",
                stream_.offset());
  }

  ByteStream stream_;
  ByteOrder order_;
  int64_t tick_ns_ = 1000;
  size_t record_header_ = kRecordHeader;
  Lengths lengths_ = Lengths::straight;
  size_t pending_ = 0;  // bytes of the packet that the caller still looks at
};

}  // namespace

Result<std::unique_ptr<FormatReader>> open_pcap(ByteStream stream) {
  auto reader = std::make_unique<PcapReader>(std::move(stream));
  TRY(reader->open());
  return reader;
}

}  // namespace lookback::packet
