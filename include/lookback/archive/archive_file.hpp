#pragma once
// Opening an archive: a regular file, and in a folder that others write to, that file itself.

#include <filesystem>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// Whether a symbolic link in the place of the file counts as it.
enum class Links { follow, refuse };

/// For reading. corrupt: a pipe, a folder, a device, or a refused link.
[[nodiscard]] Result<Fd> open_archive_file(const std::filesystem::path& path, Links links = Links::follow);

}  // namespace lookback::archive
