#pragma once
// Which container a cgroup is: by the path alone, as docker, containerd, CRI-O and podman lay it
// out under cgroup v1 and v2, with the systemd and the cgroupfs driver.

#include <optional>
#include <string>
#include <string_view>

namespace lookback::observe {

struct ContainerRef {
  std::string id;  ///< the full id
  std::string
      runtime;  ///< "docker", "containerd", "cri-o", "podman"; empty where the path does not tell
  std::string pod_uid;  ///< Kubernetes, with dashes; empty outside a pod
  friend bool operator==(const ContainerRef&, const ContainerRef&) = default;
};

/// The innermost container on the path: a cgroup inside of one belongs to it, and a container
/// within a container is its own. A runtime's monitor beside the container (conmon) is none. `path`
/// is one of /proc/<pid>/cgroup, or relative to the mount.
[[nodiscard]] std::optional<ContainerRef> container_of_cgroup(std::string_view path);

}  // namespace lookback::observe
