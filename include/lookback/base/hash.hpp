#pragma once
// Checksums and their text forms.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback {

using Sha256Digest = std::array<std::byte, 32>;

/// Incremental SHA-256 (FIPS 180-4), by OpenSSL. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::span<const std::byte> data);
  /// Ends the computation; the object starts afresh afterwards.
  [[nodiscard]] Sha256Digest finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

[[nodiscard]] std::string sha256_hex(std::span<const std::byte> data);
/// HMAC (RFC 2104) with SHA-256.
[[nodiscard]] std::string hmac_sha256_hex(std::string_view key, std::string_view message);

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4), with the processor's instruction where there is one.
[[nodiscard]] uint32_t crc32c(std::span<const std::byte> data, uint32_t seed = 0);

[[nodiscard]] std::string to_hex(std::span<const std::byte> data);
[[nodiscard]] std::string to_base64(std::span<const std::byte> data);
[[nodiscard]] Result<std::string> from_base64(std::string_view text);

/// `bytes` random bytes from the kernel, in hex.
[[nodiscard]] std::string random_hex(size_t bytes);
[[nodiscard]] uint64_t random_u64();

}  // namespace lookback
