#pragma once
// What a process gives up for good: capabilities (capabilities(7)), new privileges (PR_SET_NO_NEW_PRIVS), and system
// calls that it has no use for (seccomp(2)).

#include <filesystem>
#include <span>

#include "lookback/base/result.hpp"

namespace lookback {

/// Gives up every capability besides `kept` (CAP_ numbers of linux/capability.h), for what is executed later too; new
/// privileges; and the system calls that start programs, change the system or take other identities: they fail with
/// EPERM from then on. Threads inherit it, so it is called while there is one; a second one makes it an error.
/// What the kernel cannot do (no seccomp) is left out and logged.
[[nodiscard]] Result<> confine_process(std::span<const int> kept);

/// Whether this user may write into `path`, or make it, without overriding permissions (CAP_DAC_OVERRIDE).
[[nodiscard]] bool may_write_plainly(const std::filesystem::path& path);
/// The same for reading.
[[nodiscard]] bool may_read_plainly(const std::filesystem::path& path);

}  // namespace lookback
