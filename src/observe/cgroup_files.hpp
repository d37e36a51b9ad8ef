#pragma once
// The cgroup file systems: which hierarchies there are, where they are mounted, and which cgroups
// are in them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::observe {

/// A cgroup's id in a record: kernel ids are told apart by hierarchy only. 0 is v2.
[[nodiscard]] constexpr uint64_t cgroup_key(uint32_t hierarchy, uint64_t kernel_id) {
  constexpr unsigned kShift = 40;
  return static_cast<uint64_t>(hierarchy) << kShift | (kernel_id & ((uint64_t{1} << kShift) - 1));
}

struct Controller {
  std::string name;
  uint32_t hierarchy = 0;
};
/// The v1 controller whose cgroups tell the container, where there are v1 hierarchies.
[[nodiscard]] std::optional<Controller> v1_controller();
/// The same from the text of /proc/cgroups.
[[nodiscard]] std::optional<Controller> choose_controller(std::string_view proc_cgroups);

/// The root of the v2 hierarchy: where it is mounted, or else by a mount of our own that nobody
/// sees.
[[nodiscard]] Result<Fd> open_unified_cgroup();

struct CgroupPath {
  uint64_t key = 0;
  std::string path;
};

class CgroupFiles {
 public:
  /// Looks where the v2 hierarchy and that of v1_controller() are mounted.
  [[nodiscard]] static CgroupFiles find();

  /// Every cgroup, up to a bound.
  [[nodiscard]] std::vector<CgroupPath> scan() const;
  /// Those of a process: v2, then v1; nothing where the process is gone.
  [[nodiscard]] std::vector<CgroupPath> of_process(uint32_t pid) const;
  [[nodiscard]] uint32_t v1_hierarchy() const { return controller_ ? controller_->hierarchy : 0; }

 private:
  std::optional<Controller> controller_;
  std::string v2_mount_, v1_mount_;  // empty: not mounted
};

}  // namespace lookback::observe
