#include "observe/cgroup_files.hpp"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <map>
#include <sstream>

#include "observe/proc_files.hpp"

namespace lookback::observe {
namespace {

constexpr size_t kMostCgroups = 100'000;
constexpr uint64_t kMostText = 1 << 20;
/// Runtimes put a container into all of them; these are the ones that are seldom left out.
constexpr std::array<std::string_view, 5> kPreferred{"pids", "memory", "cpu", "devices", "freezer"};

struct Mount {
  std::string path, type, options;
};

std::vector<Mount> cgroup_mounts() {
  std::vector<Mount> mounts;
  std::istringstream lines(read_small_file("/proc/self/mountinfo", kMostText).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    // id parent device root path options [optional…] - type source super-options
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream front(line.substr(0, dash)), back(line.substr(dash + 3));
    std::string skipped, root;
    Mount mount;
    front >> skipped >> skipped >> skipped >> root >> mount.path;
    back >> mount.type >> skipped >> mount.options;
    if (mount.type.starts_with("cgroup") && root == "/") mounts.push_back(std::move(mount));
  }
  return mounts;
}

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty()) {
    const size_t comma = std::min(options.find(','), options.size());
    if (options.substr(0, comma) == wanted) return true;
    options.remove_prefix(std::min(comma + 1, options.size()));
  }
  return false;
}

/// A cgroup's id is its folder's inode.
std::optional<uint64_t> inode_of(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return std::nullopt;
  return info.st_ino;
}

void walk(const std::string& mount, uint32_t hierarchy, std::vector<CgroupPath>& found) {
  namespace fs = std::filesystem;
  if (mount.empty()) return;
  std::error_code error;
  if (const auto inode = inode_of(mount)) found.push_back({cgroup_key(hierarchy, *inode), "/"});
  fs::recursive_directory_iterator it(mount, fs::directory_options::skip_permission_denied, error),
      end;
  for (; !error && it != end && found.size() < kMostCgroups; it.increment(error)) {
    std::error_code ignored;
    if (!it->is_directory(ignored) || it->is_symlink(ignored)) continue;
    const std::string path = it->path().string();
    if (const auto inode = inode_of(path))
      found.push_back({cgroup_key(hierarchy, *inode), path.substr(mount.size())});
  }
}

}  // namespace

std::optional<Controller> choose_controller(std::string_view proc_cgroups) {
  std::map<std::string, uint32_t> hierarchies;
  std::istringstream lines{std::string(proc_cgroups)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream fields(line);
    std::string name;
    uint32_t hierarchy = 0;
    if (fields >> name >> hierarchy && hierarchy != 0) hierarchies.emplace(name, hierarchy);
  }
  for (const auto name : kPreferred)
    if (const auto it = hierarchies.find(std::string(name)); it != hierarchies.end())
      return Controller{it->first, it->second};
  return std::nullopt;
}

std::optional<Controller> v1_controller() {
  return choose_controller(read_small_file("/proc/cgroups", kMostText).value_or(""));
}

Result<Fd> open_unified_cgroup() {
  for (const auto& mount : cgroup_mounts())
    if (mount.type == "cgroup2")
      if (auto opened = open_file(mount.path, O_RDONLY | O_DIRECTORY)) return opened;
  // The hierarchy is there even where it is mounted nowhere.
  const Fd context(static_cast<int>(syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC)));
  if (context &&
      syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    Fd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
    if (mount) return mount;
  }
  return fail_errno(errno, "the v2 cgroup hierarchy is not mounted and cannot be");
}

CgroupFiles CgroupFiles::find() {
  CgroupFiles files;
  files.controller_ = v1_controller();
  for (const auto& mount : cgroup_mounts()) {
    if (mount.type == "cgroup2" && files.v2_mount_.empty()) files.v2_mount_ = mount.path;
    if (mount.type == "cgroup" && files.controller_ && files.v1_mount_.empty() &&
        has_option(mount.options, files.controller_->name))
      files.v1_mount_ = mount.path;
  }
  return files;
}

std::vector<CgroupPath> CgroupFiles::scan() const {
  std::vector<CgroupPath> found;
  walk(v2_mount_, 0, found);
  if (controller_) walk(v1_mount_, controller_->hierarchy, found);
  return found;
}

std::vector<CgroupPath> CgroupFiles::of_process(uint32_t pid) const {
  std::vector<CgroupPath> found(2);
  std::istringstream lines(
      read_small_file(fmt::format("/proc/{}/cgroup", pid), kMostText).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1),
                      path = line.substr(second + 1);
    const bool is_v2 = line.starts_with("0:") && controllers.empty();
    if (!is_v2 && !(controller_ && has_option(controllers, controller_->name))) continue;
    const std::string& mount = is_v2 ? v2_mount_ : v1_mount_;
    if (mount.empty()) continue;
    if (const auto inode = inode_of(mount + path))
      found[is_v2 ? 0 : 1] = {cgroup_key(is_v2 ? 0 : controller_->hierarchy, *inode), path};
  }
  return found;
}

}  // namespace lookback::observe
