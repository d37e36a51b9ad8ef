#include "lookback/observe/container_path.hpp"

#include <catch2/catch.hpp>

using namespace lookback::observe;

namespace {

const std::string kA = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kB = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const std::string kUid = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901";
const std::string kUidSlice = "1b2c3d4e_5f60_7182_93a4_b5c6d7e8f901";
const std::string kStatic = "5b1cfa8b1bd9b26f16e8ab7ae5a3a4cb";

struct Row {
  std::string path, id, runtime, pod;
};

}  // namespace

TEST_CASE("paths of every runtime give their container") {
  const std::string burstable =
      "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUidSlice + ".slice";
  const std::vector<Row> rows{
      // docker: cgroupfs driver (v1 and v2 alike), systemd driver, rootless, what runs inside
      {"/docker/" + kA, kA, "docker", ""},
      {"/docker/" + kA + "/init.scope", kA, "docker", ""},
      {"/docker/" + kA + "/system.slice/nginx.service", kA, "docker", ""},
      {"/system.slice/docker-" + kA + ".scope", kA, "docker", ""},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + kA + ".scope", kA,
       "docker", ""},
      {"/custom-parent/" + kA, kA, "", ""},
      {"/docker/" + kA + "/docker/" + kB, kB, "docker", ""},
      {"../../docker/" + kA, kA, "docker", ""},
      // Kubernetes, cgroupfs driver
      {"/kubepods/burstable/pod" + kUid + "/" + kA, kA, "", kUid},
      {"/kubepods/besteffort/pod" + kUid + "/" + kA, kA, "", kUid},
      {"/kubepods/pod" + kUid + "/" + kA, kA, "", kUid},
      {"/kubepods/burstable/pod" + kStatic + "/" + kA, kA, "", kStatic},
      {"/kubepods/burstable/pod" + kUid + "/crio-" + kA, kA, "cri-o", kUid},
      // Kubernetes, systemd driver
      {burstable + "/cri-containerd-" + kA + ".scope", kA, "containerd", kUid},
      {burstable + "/docker-" + kA + ".scope", kA, "docker", kUid},
      {burstable + "/crio-" + kA + ".scope", kA, "cri-o", kUid},
      {burstable + "/crio-" + kA + ".scope/container", kA, "cri-o", kUid},
      {"/kubepods.slice/kubepods-pod" + kUidSlice + ".slice/cri-containerd-" + kA + ".scope", kA,
       "containerd", kUid},
      {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kStatic +
           ".slice/cri-containerd-" + kA + ".scope",
       kA, "containerd", kStatic},
      // containerd with a driver that it did not expect
      {"/system.slice/containerd.service/kubepods-burstable-pod" + kUidSlice +
           ".slice:cri-containerd:" + kA,
       kA, "containerd", kUid},
      {"/kubepods-besteffort-pod" + kUidSlice + ".slice:cri-containerd:" + kA, kA, "containerd",
       kUid},
      {"system.slice:docker:" + kA, kA, "docker", ""},
      // a cluster whose nodes are containers (kind)
      {"/docker/" + kB +
           "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
           "kubelet-kubepods-burstable-pod" +
           kUidSlice + ".slice/cri-containerd-" + kA + ".scope",
       kA, "containerd", kUid},
      {"/docker/" + kB + "/kubelet/kubepods/burstable/pod" + kUid + "/" + kA, kA, "", kUid},
      // a container inside of a pod's container is not a container of that pod's
      {"/kubepods/pod" + kUid + "/" + kA + "/docker/" + kB, kB, "docker", ""},
      // podman
      {"/machine.slice/libpod-" + kA + ".scope", kA, "podman", ""},
      {"/machine.slice/libpod-" + kA + ".scope/container", kA, "podman", ""},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kA + ".scope/container",
       kA, "podman", ""},
      {"/machine.slice/machine-libpod_pod_" + kB + ".slice/libpod-" + kA + ".scope", kA, "podman",
       ""},
      {"/libpod_parent/libpod-" + kA, kA, "podman", ""},
      // nerdctl, ECS
      {"/system.slice/nerdctl-" + kA + ".scope", kA, "containerd", ""},
      {"/default/" + kA, kA, "", ""},
      {"/ecs/" + kStatic + "/" + kStatic + "-1234567890", kStatic + "-1234567890", "", ""},
  };
  for (const auto& row : rows) {
    INFO(row.path);
    const auto found = container_of_cgroup(row.path);
    REQUIRE(found);
    CHECK(*found == ContainerRef{row.id, row.runtime, row.pod});
  }
}

TEST_CASE("other paths give none") {
  for (const std::string& path : {
           std::string(),
           std::string("/"),
           std::string("/system.slice/sshd.service"),
           std::string("/user.slice/user-0.slice/session-1.scope"),
           std::string("/system.slice/docker.service"),
           "/machine.slice/libpod-conmon-" + kA + ".scope",
           "/kubepods.slice/kubepods-pod" + kUidSlice + ".slice/crio-conmon-" + kA + ".scope",
           "/kubepods.slice/kubepods-pod" + kUidSlice + ".slice",
           "/kubepods/pod" + kUid,
           "/docker/" + kA.substr(1),
           "/docker/" + kA + "0",
           "/docker/" + kA.substr(1) + "G",
           std::string("/docker/"),
           std::string("////"),
           std::string(":::"),
           std::string("/a:b"),
           "/ecs/" + kStatic + "/" + kStatic + "-",
           "/x/" + kStatic + "-12345678901",
       }) {
    INFO(path);
    CHECK_FALSE(container_of_cgroup(path));
  }
}

TEST_CASE("a pod's UID must be one") {
  for (const std::string& uid :
       {std::string("1b2c3d4e-5f60-7182-93a4-b5c6d7e8f90"), kUid + "0", std::string("zz"),
        std::string("1b2c3d4e05f60-7182-93a4-b5c6d7e8f901")}) {
    const auto found = container_of_cgroup("/kubepods/pod" + uid + "/" + kA);
    REQUIRE(found);
    CHECK(found->pod_uid.empty());
  }
}
