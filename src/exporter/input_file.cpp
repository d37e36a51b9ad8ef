#include "exporter/input_file.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "lookback/base/fd.hpp"

namespace lookback::exporter {

namespace {

constexpr size_t kChunk = 256 << 10;

/// The file's own bytes, with the first ones kept for a look at the magic.
class RawFile {
 public:
  explicit RawFile(Fd fd) : fd_(std::move(fd)), buffer_(kChunk) {}

  /// Fills the buffer when it is empty; false at the end.
  Result<bool> fill() {
    if (at_ < end_) return true;
    TRY_ASSIGN(end_, read_some(buffer_));
    at_ = 0;
    return end_ > 0;
  }
  /// At least `count` bytes in the buffer, unless the file has fewer.
  Result<> peek(size_t count) {
    while (end_ < count) {
      TRY_ASSIGN(const size_t got, read_some(std::span(buffer_).subspan(end_)));
      if (got == 0) break;
      end_ += got;
    }
    return {};
  }
  [[nodiscard]] std::span<const std::byte> buffered() const { return std::span(buffer_).subspan(at_, end_ - at_); }
  void consume(size_t count) {
    at_ += count;
    position_ += count;
  }
  [[nodiscard]] uint64_t position() const { return position_; }

 private:
  Result<size_t> read_some(std::span<std::byte> out) {
    for (;;) {
      const ssize_t got = ::read(fd_.get(), out.data(), out.size());
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return fail_errno(errno, "read");
    }
  }

  Fd fd_;
  std::vector<std::byte> buffer_;
  size_t at_ = 0, end_ = 0;
  uint64_t position_ = 0;
};

class PlainFile final : public InputFile {
 public:
  explicit PlainFile(RawFile raw) : raw_(std::move(raw)) {}
  Result<size_t> read(std::span<std::byte> out) override {
    TRY_ASSIGN(const bool more, raw_.fill());
    if (!more) return 0;
    const auto bytes = raw_.buffered();
    const size_t count = std::min(bytes.size(), out.size());
    std::copy_n(bytes.begin(), count, out.begin());
    raw_.consume(count);
    return count;
  }
  [[nodiscard]] uint64_t position() const override { return raw_.position(); }

 private:
  RawFile raw_;
};

class GzipFile final : public InputFile {
 public:
  explicit GzipFile(RawFile raw) : raw_(std::move(raw)) {
    LOOKBACK_CHECK(::inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK);  // 16: gzip and nothing else
  }
  ~GzipFile() override { ::inflateEnd(&stream_); }
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;

  Result<size_t> read(std::span<std::byte> out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), kChunk));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room && room > 0) {
      TRY_ASSIGN(const bool more, raw_.fill());
      if (!more) {
        if (inside_) return fail(ErrorKind::corrupt, "the gzip file is cut short");
        return 0;
      }
      const auto bytes = raw_.buffered();
      if (!inside_ && members_ > 0 && bytes.front() == std::byte{0}) {
        TRY(pass_padding());
        return 0;
      }
      // zlib does not write to its input.
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
      stream_.avail_in = static_cast<uInt>(bytes.size());
      inside_ = true;
      const int status = ::inflate(&stream_, Z_NO_FLUSH);
      raw_.consume(bytes.size() - stream_.avail_in);
      if (status == Z_STREAM_END) {
        inside_ = false;  // another member may follow
        ++members_;
        LOOKBACK_CHECK(::inflateReset(&stream_) == Z_OK);
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        if (members_ > 0 && stream_.total_out == 0)
          return fail(ErrorKind::corrupt, "behind the gzip data stand bytes that are none, at about byte {}", raw_.position());
        return fail(ErrorKind::corrupt, "the gzip file is damaged at about byte {} ({})", raw_.position(),
                    stream_.msg != nullptr ? stream_.msg : "unknown");
      }
    }
    return room - stream_.avail_out;
  }
  [[nodiscard]] uint64_t position() const override { return raw_.position(); }

 private:
  /// Zeros up to the end, as tapes and block devices fill up with, are no damage (gzip, "get_method").
  Result<> pass_padding() {
    for (;;) {
      TRY_ASSIGN(const bool more, raw_.fill());
      if (!more) return {};
      const auto bytes = raw_.buffered();
      if (std::any_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte != std::byte{0}; }))
        return fail(ErrorKind::corrupt, "behind the gzip data stand bytes that are none, at about byte {}", raw_.position());
      raw_.consume(bytes.size());
    }
  }

  RawFile raw_;
  z_stream stream_{};
  bool inside_ = true;
  uint64_t members_ = 0;  ///< that have ended
};

class ZstdFile final : public InputFile {
 public:
  explicit ZstdFile(RawFile raw) : raw_(std::move(raw)) {
    LOOKBACK_CHECK(context_ != nullptr);
    // `zstd -d` without options takes windows up to 128 MiB; so do we.
    LOOKBACK_CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, 27)));
  }
  ~ZstdFile() override { ZSTD_freeDCtx(context_); }
  ZstdFile(const ZstdFile&) = delete;
  ZstdFile& operator=(const ZstdFile&) = delete;

  Result<size_t> read(std::span<std::byte> out) override {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos == 0 && to.size > 0) {
      TRY_ASSIGN(const bool more, raw_.fill());
      // What the decoder holds back comes without input as well.
      const auto bytes = raw_.buffered();
      ZSTD_inBuffer from{bytes.data(), bytes.size(), 0};
      if (!more && !inside_) return 0;
      const size_t status = ZSTD_decompressStream(context_, &to, &from);
      if (ZSTD_isError(status))
        return fail(ErrorKind::corrupt, "the zstd file is damaged at about byte {} ({})", raw_.position(), ZSTD_getErrorName(status));
      raw_.consume(from.pos);
      inside_ = status != 0;
      if (!more && to.pos == 0 && inside_) return fail(ErrorKind::corrupt, "the zstd file is cut short");
    }
    return to.pos;
  }
  [[nodiscard]] uint64_t position() const override { return raw_.position(); }

 private:
  RawFile raw_;
  ZSTD_DCtx* context_ = ZSTD_createDCtx();
  bool inside_ = true;
};

}  // namespace

Result<std::unique_ptr<InputFile>> InputFile::open(const std::filesystem::path& path) {
  TRY_ASSIGN(Fd fd, open_file(path, O_RDONLY));
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  RawFile raw(std::move(fd));
  if (auto peeked = raw.peek(4); !peeked) return tl::make_unexpected(peeked.error().in(path.string()));
  uint32_t magic = 0;
  const auto start = raw.buffered();
  for (size_t i = 0; i < std::min<size_t>(4, start.size()); ++i) magic |= std::to_integer<uint32_t>(start[i]) << (8 * i);
  if ((magic & 0xffff) == 0x8b1f) return std::make_unique<GzipFile>(std::move(raw));
  if (magic == ZSTD_MAGICNUMBER || (magic & 0xfffffff0) == 0x184D2A50) return std::make_unique<ZstdFile>(std::move(raw));
  return std::make_unique<PlainFile>(std::move(raw));
}

}  // namespace lookback::exporter
