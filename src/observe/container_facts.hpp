#pragma once
// What container runtimes write down about a container where root can read it: its name and image.
// No socket of a runtime is asked, so no credentials are needed.

#include <filesystem>
#include <string>

#include "lookback/observe/container_path.hpp"

namespace lookback::observe {

struct ContainerFacts {
  std::string name, image;
  std::string runtime;  ///< who keeps the files; empty where none was found
};

/// `root` is the host's root folder.
[[nodiscard]] ContainerFacts container_facts(const ContainerRef& container,
                                             const std::filesystem::path& root = "/");

}  // namespace lookback::observe
