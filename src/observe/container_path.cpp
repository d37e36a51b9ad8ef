#include "lookback/observe/container_path.hpp"

#include <algorithm>
#include <array>

namespace lookback::observe {
namespace {

constexpr size_t kIdLength = 64, kUuidLength = 36, kHashLength = 32;

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_id(std::string_view text) {
  return text.size() == kIdLength && is_hex(text);
}

/// A task of Amazon's ECS agent: 32 hexadecimal digits, a dash and a number.
bool is_ecs_id(std::string_view text) {
  constexpr size_t kDash = 32, kMostDigits = 10;
  if (text.size() < kDash + 2 || text.size() > kDash + 1 + kMostDigits || text[kDash] != '-')
    return false;
  const auto number = text.substr(kDash + 1);
  return is_hex(text.substr(0, kDash)) &&
         std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// systemd writes a UID's dashes as underscores, since a dash parts the levels of a slice's name.
/// Pods from a file have the hash of that file instead.
std::optional<std::string> pod_uid_of(std::string_view text) {
  if (text.size() == kHashLength && is_hex(text)) return std::string(text);
  if (text.size() != kUuidLength) return std::nullopt;
  std::string uid(text);
  for (size_t i = 0; i < uid.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (uid[i] != '-' && uid[i] != '_') return std::nullopt;
      uid[i] = '-';
    } else if (!is_hex(std::string_view(&uid[i], 1))) {
      return std::nullopt;
    }
  }
  return uid;
}

bool strip_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

/// "pod<uid>" of the cgroupfs driver, "[…-]kubepods[-burstable]-pod<uid>.slice" of systemd's.
std::optional<std::string> pod_of(std::string_view component) {
  strip_suffix(component, ".slice");
  constexpr std::string_view kPod = "pod";
  if (component.starts_with(kPod)) return pod_uid_of(component.substr(kPod.size()));
  if (component.find("kubepods") == std::string_view::npos) return std::nullopt;
  const size_t at = component.rfind("-pod");
  if (at == std::string_view::npos) return std::nullopt;
  return pod_uid_of(component.substr(at + 1 + kPod.size()));
}

struct Prefix {
  std::string_view text, runtime;
};
constexpr std::array kPrefixes{Prefix{"docker-", "docker"}, Prefix{"cri-containerd-", "containerd"},
                               Prefix{"nerdctl-", "containerd"}, Prefix{"crio-", "cri-o"},
                               Prefix{"libpod-", "podman"}};

/// A component that is a container by itself; `parent` tells the runtime where the component does
/// not.
std::optional<ContainerRef> container_of(std::string_view component, std::string_view parent) {
  // containerd under a driver that it did not expect: "SLICE:cri-containerd:ID".
  if (const size_t colon = component.rfind(':'); colon != std::string_view::npos) {
    const auto id = component.substr(colon + 1);
    if (!is_id(id)) return std::nullopt;
    ContainerRef ref{std::string(id), "", ""};
    const auto before = component.substr(0, colon);
    const size_t first = before.find(':');
    const auto prefix = first == std::string_view::npos ? before : before.substr(first + 1);
    if (prefix == "cri-containerd" || prefix == "nerdctl") ref.runtime = "containerd";
    if (prefix == "crio") ref.runtime = "cri-o";
    if (prefix == "docker") ref.runtime = "docker";
    if (prefix == "libpod") ref.runtime = "podman";
    if (first != std::string_view::npos)
      if (auto pod = pod_of(before.substr(0, first))) ref.pod_uid = *pod;
    return ref;
  }
  strip_suffix(component, ".scope");
  for (const auto& prefix : kPrefixes)
    if (component.starts_with(prefix.text) && is_id(component.substr(prefix.text.size())))
      return ContainerRef{std::string(component.substr(prefix.text.size())),
                          std::string(prefix.runtime), ""};
  if (is_id(component) || is_ecs_id(component))
    return ContainerRef{std::string(component), parent == "docker" ? "docker" : "", ""};
  return std::nullopt;
}

}  // namespace

std::optional<ContainerRef> container_of_cgroup(std::string_view path) {
  std::optional<ContainerRef> found;
  std::string pod;
  std::string_view parent;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const auto component = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (component.empty()) continue;
    if (auto uid = pod_of(component)) {
      pod = *uid;
    } else if (auto ref = container_of(component, parent)) {
      if (ref->pod_uid.empty()) ref->pod_uid = pod;
      found = std::move(ref);
      // What follows may be a container of its own, which is not in the outer one's pod.
      pod.clear();
    }
    parent = component;
  }
  return found;
}

}  // namespace lookback::observe
