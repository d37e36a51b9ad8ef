#pragma once
// Proves an archive byte for byte.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "lookback/archive/byte_source.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

struct VerifyReport {
  uint64_t members = 0, content_bytes = 0, file_bytes = 0;
};

/// Looks at the content of a member's frame, which comes in order; an error of it is one of the member.
using ContentVisitor = std::function<Result<>(const MemberEntry& member, size_t frame, std::span<const std::byte> content)>;

/// Reads every byte of the file: frames, tar headers, padding, members against their SHA-256, seek table, and that nothing stands in the
/// stream that the manifest does not name. The first bad member is named in the error (kind corrupt). `progress` gets file bytes done
/// and in all, after every frame. `cancelled` may be set by any thread. Memory: the manifest and one frame.
[[nodiscard]] Result<VerifyReport> verify_archive(const ByteSource& source, const std::function<void(uint64_t, uint64_t)>& progress = {},
                                                  const std::atomic<bool>* cancelled = nullptr, const ContentVisitor& visit = {});
[[nodiscard]] Result<VerifyReport> verify_archive(const std::filesystem::path& path,
                                                  const std::function<void(uint64_t, uint64_t)>& progress = {},
                                                  const std::atomic<bool>* cancelled = nullptr, const ContentVisitor& visit = {});

}  // namespace lookback::archive
