#include <sys/mman.h>

#include "lookback/archive/archive.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lookback;
  using namespace lookback::archive;
  static FrameDecoder decoder;
  const Fd file(::memfd_create("archive", MFD_CLOEXEC));
  LOOKBACK_CHECK(file.valid() && write_all(file.get(), std::as_bytes(std::span(data, size))).has_value());
  const std::string path = fmt::format("/proc/self/fd/{}", file.get());
  const bool sound = verify_archive(path).has_value();
  const auto reader = ArchiveReader::open(path);
  LOOKBACK_CHECK(!sound || reader.has_value());
  if (!reader) return 0;
  std::vector<std::byte> compressed, content;
  for (const MemberEntry& member : (*reader)->manifest().members) {
    for (size_t i = 0; i < member.frames.size(); ++i) {
      const bool read = (*reader)->read_frame(member, i, decoder, compressed, content).has_value();
      LOOKBACK_CHECK(read || !sound);
    }
    LOOKBACK_CHECK((*reader)->read_member(member).has_value() || !sound);
  }
  return 0;
}
