#pragma once
// A socket that speaks whatever bytes a test wants, and self-made certificates.

#include <cstdint>
#include <filesystem>
#include <string>

#include "lookback/base/fd.hpp"

namespace lookback::http::test {

class RawClient {
 public:
  /// Connects to 127.0.0.1; a small receive buffer makes a slow reader.
  explicit RawClient(uint16_t port, int receive_buffer = 0);
  void send(std::string_view text);
  /// False when the server has closed or reset the connection.
  bool try_send(std::string_view text);
  /// Reads until the server closes, `limit` bytes are there, or timeout_ms pass without a byte.
  std::string read_all(size_t limit = SIZE_MAX, int timeout_ms = 10'000);
  /// Reads one whole response with a Content-Length.
  std::string read_response(int timeout_ms = 10'000);
  void finish_sending();
  void reset();  ///< closes with RST
  [[nodiscard]] bool was_reset() const { return was_reset_; }

 private:
  Fd fd_;
  bool was_reset_ = false;
};

/// Writes a self-signed certificate for these names, and its key.
void make_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key,
                      const char* names = "IP:127.0.0.1,DNS:localhost");

}  // namespace lookback::http::test
