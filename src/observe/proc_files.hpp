#pragma once
// What /proc tells of processes.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"
#include "lookback/observe/event.hpp"

namespace lookback::observe {

/// How the kernel's clocks stand to CLOCK_REALTIME at one moment.
struct ClockBase {
  int64_t monotonic_to_real_ns = 0, boot_to_real_ns = 0;
  [[nodiscard]] static ClockBase now();
};

/// Files of /proc and the like, which say nothing of their size. At most `limit` bytes of it.
[[nodiscard]] Result<std::string> read_small_file(const std::string& path, size_t limit);

[[nodiscard]] std::vector<uint32_t> list_processes();
/// The network namespaces that these processes are in, by inode. What may not be opened is left
/// out.
[[nodiscard]] std::map<uint32_t, Fd> open_network_namespaces(const std::vector<uint32_t>& pids);
/// Adds those that have a name in a folder such as /run/netns.
void open_named_namespaces(const std::string& folder, std::map<uint32_t, Fd>& spaces);
/// The name that a process' file had when it was run: `link` is what /proc/<pid>/exe points to, where
/// the kernel adds " (deleted)" once it has none; `folder` is /proc/<pid>.
[[nodiscard]] std::string name_of_file(std::string_view link, const std::string& folder);
/// A process as an event of kind process without its cgroup; nothing where it is gone.
[[nodiscard]] std::optional<Event> read_process(uint32_t pid, const ClockBase& clock);
/// The parts of /proc/<pid>/stat that are used.
struct ProcessStat {
  std::string comm;
  uint32_t ppid = 0;
  uint64_t start_ticks = 0;
};
[[nodiscard]] std::optional<ProcessStat> parse_stat(std::string_view text);

}  // namespace lookback::observe
