#pragma once
// How a capture file's interface is told in an export, and in a manifest.

#include <optional>
#include <string>
#include <string_view>

#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

/// "node web-1", or with what a capture file called the interface "node web-1 (uplink)".
[[nodiscard]] std::string describe_interface(std::string_view node, std::string_view description);

struct NodeInterface {
  std::string_view node;         ///< as it stands there, which may be no valid name
  std::string_view description;  ///< empty: none
};
/// The reverse; nothing where the text does not begin with "node ".
[[nodiscard]] std::optional<NodeInterface> node_of_description(std::string_view text);

/// pcapng options as archive::InterfaceEntry::options has them.
[[nodiscard]] std::string options_to_text(const packet::Buffer& options);
/// Empty where the text is none, or holds what an interface block of ours says otherwise (name, times).
[[nodiscard]] packet::Buffer options_from_text(std::string_view text);

}  // namespace lookback::exporter
