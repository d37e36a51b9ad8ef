#include "lookback/packet/pcapng.hpp"
#include "packet/byte_stream.hpp"
#include "packet/load.hpp"

namespace lookback::packet {

struct CaptureReader::Impl {
  std::unique_ptr<FormatReader> format;
  bool pcapng = false;
  std::optional<Error> error;
};

CaptureReader::CaptureReader() = default;
CaptureReader::~CaptureReader() = default;
CaptureReader::CaptureReader(CaptureReader&&) noexcept = default;
CaptureReader& CaptureReader::operator=(CaptureReader&&) noexcept = default;

Result<CaptureReader> CaptureReader::open(Source source) {
  ByteStream stream(std::move(source));
  TRY_ASSIGN(const bool has_magic, stream.fill(4));
  if (!has_magic)
    return fail(ErrorKind::invalid, "{} bytes are no capture file: pcap and pcapng can be read",
                stream.available());
  CaptureReader reader;
  reader.impl_ = std::make_unique<Impl>();
  reader.impl_->pcapng = load<uint32_t>(stream.data()) == kPcapngSectionHeader;
  auto format =
      reader.impl_->pcapng ? open_pcapng(std::move(stream)) : open_pcap(std::move(stream));
  if (!format) return tl::make_unexpected(std::move(format).error());
  reader.impl_->format = std::move(*format);
  return reader;
}

Result<std::optional<ReadPacket>> CaptureReader::next() {
  if (impl_->error) return tl::make_unexpected(*impl_->error);
  auto packet = impl_->format->next();
  if (!packet) impl_->error = packet.error();
  return packet;
}

const std::vector<PcapngInterface>& CaptureReader::interfaces() const {
  return impl_->format->interfaces;
}

const std::vector<PcapngProcess>& CaptureReader::processes() const {
  return impl_->format->processes;
}

const std::vector<std::optional<ReadStatistics>>& CaptureReader::statistics() const {
  return impl_->format->statistics;
}

const std::vector<std::string>& CaptureReader::origins() const {
  return impl_->format->origins;
}

const LeftOut& CaptureReader::left_out() const {
  return impl_->format->left_out;
}

bool CaptureReader::is_pcapng() const {
  return impl_->pcapng;
}

}  // namespace lookback::packet
