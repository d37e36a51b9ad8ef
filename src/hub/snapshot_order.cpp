#include "snapshot_order.hpp"

#include <algorithm>

#include "json_text.hpp"
#include "lookback/base/names.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::hub {

namespace {

constexpr size_t kMaxNames = 10'000, kMaxNetworks = 1'000, kMaxTags = 64, kMaxTagKey = 128,
                 kMaxTagValue = 1024;
constexpr int64_t kMaxDeadline = 3600 * kNsPerSecond;
constexpr int64_t kMostAhead = kNsPerSecond;

Result<std::vector<std::string>> texts(const Json& json, const char* key, size_t limit) {
  std::vector<std::string> list;
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return list;
  if (!it->is_array() || it->size() > limit)
    return fail(ErrorKind::invalid, "'{}' is not a list of at most {} texts", key, limit);
  // A list that came out empty must not become an order for everything.
  if (it->empty())
    return fail(ErrorKind::invalid, "'{}' is an empty list: leave it out for all of them", key);
  for (const Json& one : *it) {
    if (!one.is_string())
      return fail(ErrorKind::invalid, "'{}' holds something else than texts", key);
    if (one.get_ref<const std::string&>().empty())
      return fail(ErrorKind::invalid, "'{}' holds an empty text", key);
    list.push_back(one.get<std::string>());
  }
  return list;
}

template <class T>
Result<std::optional<T>> optional_member(const Json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return std::nullopt;
  TRY_ASSIGN(T value, json_get<T>(json, key));
  return std::optional<T>(std::move(value));
}

Result<SnapshotOrder> order_from(const Json& json) {
  SnapshotOrder order;
  TRY_ASSIGN(order.name, json_get<std::string>(json, "name"));
  if (order.name.size() > 512) return fail(ErrorKind::invalid, "the snapshot's name is too long");
  TRY_ASSIGN(order.last_ns, optional_member<int64_t>(json, "last_ns"));
  TRY_ASSIGN(order.from_ns, json_time_or_none(json, "from"));
  TRY_ASSIGN(order.to_ns, json_time_or_none(json, "to"));
  TRY_ASSIGN(order.nodes, texts(json, "nodes", kMaxNames));
  TRY_ASSIGN(order.networks, texts(json, "networks", kMaxNetworks));
  for (std::string& network : order.networks) {
    TRY_ASSIGN(const packet::Cidr cidr, packet::Cidr::parse(network));
    network = cidr.to_string();
  }
  if (const auto tags = json.find("tags"); tags != json.end() && !tags->is_null()) {
    if (!tags->is_object() || tags->size() > kMaxTags)
      return fail(ErrorKind::invalid, "'tags' is not an object of at most {} texts", kMaxTags);
    for (const auto& [key, value] : tags->items()) {
      if (!value.is_string() || key.empty() || key.size() > kMaxTagKey ||
          value.get_ref<const std::string&>().size() > kMaxTagValue)
        return fail(ErrorKind::invalid, "the tag '{}' is not a text, or is too long", key.substr(0, 32));
      order.tags[key] = value.get<std::string>();
    }
  }
  TRY_ASSIGN(order.deadline_ns, json_get_or<int64_t>(json, "deadline_ns", order.deadline_ns));
  if (order.deadline_ns <= 0 || order.deadline_ns > kMaxDeadline)
    return fail(ErrorKind::invalid, "the deadline has to be above 0 and at most {}",
                format_duration(kMaxDeadline));
  TRY_ASSIGN(const bool upload, json_get_or<bool>(json, "upload", false));
  if (upload) return fail(ErrorKind::invalid, "this hub has no cloud storage to upload to");
  const bool window = order.from_ns || order.to_ns;
  if (order.last_ns && window)
    return fail(ErrorKind::invalid, "'last_ns' and 'from'/'to' exclude each other");
  if (!order.last_ns && !(order.from_ns && order.to_ns))
    return fail(ErrorKind::invalid, "a snapshot needs 'last_ns', or 'from' and 'to'");
  return order;
}

}  // namespace

Result<SnapshotOrder> SnapshotOrder::parse(std::string_view body) {
  auto json = parse_json(body, "the order");
  if (!json || !json->is_object()) return fail(ErrorKind::invalid, "the body is not a JSON object");
  auto order = order_from(*json);
  if (!order) return fail(ErrorKind::invalid, "{}", order.error().message);
  return order;
}

Result<TimeWindow> SnapshotOrder::window(int64_t now_ns) const {
  TimeWindow window;
  if (last_ns) {
    if (*last_ns <= 0) return fail(ErrorKind::invalid, "empty window: 'last_ns' has to be above 0");
    window = {now_ns - std::min(*last_ns, now_ns), now_ns};
  } else {
    window = {*from_ns, *to_ns};
  }
  if (window.empty())
    return fail(ErrorKind::invalid, "empty window: it ends at {}, not after its start at {}",
                format_time(window.to_ns), format_time(window.from_ns));
  if (window.to_ns > now_ns + kMostAhead) {
    return fail(ErrorKind::invalid, "the window is in the future: it ends at {}, and here it is {}",
                format_time(window.to_ns), format_time(now_ns));
  }
  return window;
}

Result<std::vector<NodeInfo>> SnapshotOrder::select(const std::vector<NodeInfo>& known) const {
  if (known.empty())
    return fail(ErrorKind::unavailable,
                "no node is registered: start 'lookback capture' with this hub's URL on the nodes");
  if (nodes.empty()) return known;
  std::vector<bool> wanted(known.size(), false);
  for (const std::string& pattern : nodes) {
    bool matched = false;
    for (size_t i = 0; i < known.size(); ++i) {
      if (known[i].name != pattern && !glob_match(pattern, known[i].name)) continue;
      wanted[i] = matched = true;
    }
    if (matched) continue;
    const bool is_glob = pattern.find_first_of("*?[") != std::string::npos;
    if (is_glob) return fail(ErrorKind::invalid, "no node matches '{}'", pattern);
    return fail(ErrorKind::not_found, "there is no node '{}'", pattern);
  }
  std::vector<NodeInfo> selected;
  for (size_t i = 0; i < known.size(); ++i) {
    if (wanted[i]) selected.push_back(known[i]);
  }
  return selected;
}

}  // namespace lookback::hub
