#include "observe/container_facts.hpp"

#include "lookback/base/json.hpp"
#include "observe/proc_files.hpp"

namespace lookback::observe {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostConfig = 4 << 20;

Json read_json(const fs::path& path) {
  const auto text = read_small_file(path.string(), kMostConfig);
  if (!text) return nullptr;
  auto json = parse_json(*text, path.string());
  return json ? std::move(*json) : Json(nullptr);
}

std::string text_at(const Json& object, std::string_view key) {
  return json_get_or<std::string>(object, key, "").value_or("");
}

const Json& member(const Json& object, std::string_view key) {
  static const Json kNone;
  if (!object.is_object()) return kNone;
  const auto it = object.find(key);
  return it == object.end() ? kNone : *it;
}

/// /var/lib/docker/containers/<id>/config.v2.json
bool from_docker(const fs::path& root, const std::string& id, ContainerFacts& facts) {
  const Json config = read_json(root / "var/lib/docker/containers" / id / "config.v2.json");
  if (config.is_null()) return false;
  facts.runtime = "docker";
  facts.name = text_at(config, "Name");
  if (facts.name.starts_with('/')) facts.name.erase(0, 1);
  facts.image = text_at(member(config, "Config"), "Image");
  return true;
}

/// The annotations of an OCI bundle (config.json), which the Kubernetes side of a runtime fills in.
bool from_bundle(const fs::path& path, const char* runtime, ContainerFacts& facts) {
  const Json config = read_json(path);
  if (config.is_null()) return false;
  facts.runtime = runtime;
  const Json& notes = member(config, "annotations");
  const auto first_of = [&](std::initializer_list<const char*> keys) {
    for (const char* key : keys)
      if (auto text = text_at(notes, key); !text.empty()) return text;
    return std::string();
  };
  facts.name = first_of({"io.kubernetes.cri.container-name", "io.kubernetes.container.name",
                         "nerdctl/name", "io.kubernetes.cri-o.Name", "io.podman.annotations.name"});
  if (text_at(notes, "io.kubernetes.cri.container-type") == "sandbox") facts.name = "POD";
  facts.image = first_of({"io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName",
                          "io.kubernetes.cri-o.Image"});
  return true;
}

/// Podman keeps a list of all its containers.
bool from_podman(const fs::path& root, const std::string& id, ContainerFacts& facts) {
  const Json list =
      read_json(root / "var/lib/containers/storage/overlay-containers/containers.json");
  if (!list.is_array()) return false;
  for (const auto& one : list) {
    if (text_at(one, "id") != id) continue;
    const auto metadata = parse_json(text_at(one, "metadata"), "podman's metadata");
    facts.runtime = "podman";
    if (metadata) {
      facts.name = text_at(*metadata, "name");
      facts.image = text_at(*metadata, "image-name");
    }
    return true;
  }
  return false;
}

}  // namespace

ContainerFacts container_facts(const ContainerRef& container, const fs::path& root) {
  ContainerFacts facts;
  const std::string& id = container.id;
  const bool any = container.runtime.empty();
  if ((any || container.runtime == "docker") && from_docker(root, id, facts)) return facts;
  if (any || container.runtime == "containerd") {
    std::error_code error;
    for (const auto& space :
         fs::directory_iterator(root / "run/containerd/io.containerd.runtime.v2.task", error))
      if (from_bundle(space.path() / id / "config.json", "containerd", facts)) return facts;
  }
  if ((any || container.runtime == "cri-o") &&
      from_bundle(root / "run/containers/storage/overlay-containers" / id / "userdata/config.json",
                  "cri-o", facts))
    return facts;
  if ((any || container.runtime == "podman") && from_podman(root, id, facts)) return facts;
  return facts;
}

}  // namespace lookback::observe
