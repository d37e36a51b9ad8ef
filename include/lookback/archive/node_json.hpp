#pragma once
// The JSON of what is known of a node in a snapshot: one form for manifests, the hub's records and its API, and clients. Its grammar is in
// lookback-archive(5).

#include <cstddef>
#include <nlohmann/json_fwd.hpp>

#include "lookback/archive/limits.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// brief: without gaps, clock samples, interfaces, excluded connections and origin, which lists leave out.
enum class NodeDetail { brief, full };

/// Texts that are too long are cut, and gaps beyond what a reader takes are put together.
[[nodiscard]] nlohmann::json node_to_json(const NodeEntry& node, NodeDetail detail = NodeDetail::full);
/// What is missing is empty. Kind corrupt where something is longer or more than a manifest may have. The name is any text.
[[nodiscard]] Result<NodeEntry> node_from_json(const nlohmann::json& json);
/// Only gaps, clock samples, interfaces, layers and excluded connections: what a node says of a window that it froze.
[[nodiscard]] Result<> read_evidence(const nlohmann::json& json, NodeEntry& node, size_t most_gaps = kMaxNodeGaps);

}  // namespace lookback::archive
