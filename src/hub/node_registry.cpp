#include "node_registry.hpp"

#include <algorithm>
#include <cmath>

#include "json_text.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/saturating.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::hub {

namespace {

constexpr size_t kMaxText = 512;

Result<std::string> short_text(const Json& object, std::string_view key) {
  TRY_ASSIGN(std::string text, json_get_or<std::string>(object, key, ""));
  if (text.size() > kMaxText)
    return fail(ErrorKind::invalid, "'{}' is longer than {} characters", key, kMaxText);
  return text;
}

Result<double> rate(const Json& object, std::string_view key) {
  TRY_ASSIGN(const double value, json_get_or<double>(object, key, 0));
  if (!std::isfinite(value) || value < 0) return fail(ErrorKind::invalid, "'{}' is not a rate", key);
  return value;
}

Result<NodeStatus> status_from(const Json& json) {
  NodeStatus status;
  TRY_ASSIGN(status.oldest_ns, json_time_or_none(json, "oldest"));
  TRY_ASSIGN(status.newest_ns, json_time_or_none(json, "newest"));
  TRY_ASSIGN(status.packets, json_get_or<uint64_t>(json, "packets", 0));
  TRY_ASSIGN(status.used_bytes, json_get_or<uint64_t>(json, "used_bytes", 0));
  TRY_ASSIGN(status.quota_bytes, json_get_or<uint64_t>(json, "quota_bytes", 0));
  TRY_ASSIGN(status.retention_ns, json_get_or<int64_t>(json, "retention_ns", 0));
  if (const auto rates = json.find("rate"); rates != json.end() && rates->is_object()) {
    TRY_ASSIGN(status.packets_per_second, rate(*rates, "packets_per_second"));
    TRY_ASSIGN(status.bytes_per_second, rate(*rates, "bytes_per_second"));
  }
  if (const auto drops = json.find("drops"); drops != json.end() && drops->is_object()) {
    TRY_ASSIGN(const uint64_t ring, json_get_or<uint64_t>(*drops, "packets", 0));
    TRY_ASSIGN(const uint64_t disk, json_get_or<uint64_t>(*drops, "disk_full_packets", 0));
    status.dropped = saturating_add(ring, disk);
  }
  return status;
}

Result<std::optional<ClockReport>> clock_from(const Json& json) {
  const auto it = json.find("clock");
  if (it == json.end() || it->is_null()) return std::nullopt;
  ClockReport clock;
  TRY_ASSIGN(clock.offset_ns, json_get<int64_t>(*it, "offset_ns"));
  TRY_ASSIGN(clock.error_ns, json_get<int64_t>(*it, "error_ns"));
  TRY_ASSIGN(const std::optional<int64_t> measured, json_time_or_none(*it, "measured"));
  clock.measured_ns = measured.value_or(0);
  if (clock.error_ns < 0 || clock.error_ns > kMaxClockOffset || clock.offset_ns > kMaxClockOffset ||
      clock.offset_ns < -kMaxClockOffset)
    return fail(ErrorKind::invalid, "'clock' is absurd");
  return clock;
}

Json status_json(const NodeStatus& status) {
  return {{"oldest", time_to_json(status.oldest_ns)},
          {"newest", time_to_json(status.newest_ns)},
          {"packets", status.packets},
          {"rate",
           {{"packets_per_second", status.packets_per_second},
            {"bytes_per_second", status.bytes_per_second}}},
          {"drops", {{"packets", status.dropped}}},
          {"retention_ns", status.retention_ns},
          {"used_bytes", status.used_bytes},
          {"quota_bytes", status.quota_bytes}};
}

Json clock_json(const std::optional<ClockReport>& clock) {
  if (!clock) return nullptr;
  return {{"offset_ns", clock->offset_ns},
          {"error_ns", clock->error_ns},
          {"measured", time_to_json(clock->measured_ns)}};
}

/// The host of a URL, without brackets.
std::string_view host_of(std::string_view url) {
  std::string_view rest = url.substr(url.find("://") + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (rest.starts_with('[')) return rest.substr(1, rest.find(']') - 1);
  return rest.substr(0, rest.find(':'));
}

/// Where a node says that it is, `url`, held against where it calls from.
Result<NodePlace> checked_place(std::string url, const std::string& peer_address, const PlacePolicy& policy) {
  const bool tls = url.starts_with("https://");
  if (!tls && !url.starts_with("http://")) return fail(ErrorKind::invalid, "'{}' is not the URL of a node", url);
  if (url.find_first_of("@\\ ") != std::string::npos)
    return fail(ErrorKind::invalid, "'{}' is not the URL of a node: it names a user, or has a blank", url);
  if (host_of(url).empty()) return fail(ErrorKind::invalid, "'{}' names no host", url);
  while (url.ends_with('/')) url.pop_back();
  const std::string_view host = host_of(url);
  if (policy.tls_only && !tls)
    return fail(ErrorKind::invalid,
                "the node is at {}, without TLS, and this hub has TLS: it would give its token away; start the node with "
                "--tls-cert and --tls-key",
                url);
  if (policy.any_address) return NodePlace{std::move(url), ""};
  const auto named = packet::IpAddress::parse(host);
  const auto caller = packet::IpAddress::parse(std::string_view(peer_address).substr(0, peer_address.find('%')));
  if (!caller) return fail(ErrorKind::invalid, "the address '{}' that the node calls from is not known", peer_address);
  if (named && *named != *caller)
    return fail(ErrorKind::invalid,
                "the node is to be called at {}, but calls from {}: behind a proxy or an address translation, the hub has to "
                "be started with --any-node-address",
                url, peer_address);
  // A name is for the certificate; where it leads is not the node's to say.
  return NodePlace{std::move(url), peer_address};
}

/// Everything but the place.
Result<Heartbeat> parse_heartbeat(const std::string& name, const Json& json) {
  Heartbeat beat;
  TRY(check_node_name(name));
  beat.name = name;
  TRY_ASSIGN(beat.version, short_text(json, "version"));
  TRY_ASSIGN(beat.incarnation, short_text(json, "incarnation"));
  if (const auto status = json.find("status"); status != json.end() && status->is_object()) {
    TRY_ASSIGN(beat.status, status_from(*status));
  }
  TRY_ASSIGN(beat.clock, clock_from(json));
  return beat;
}

Result<NodePlace> told_place(const Json& json, const std::string& peer_address, const PlacePolicy& policy) {
  TRY_ASSIGN(std::string url, short_text(json, "url"));
  TRY_ASSIGN(const auto port, json_get_or<uint16_t>(json, "port", 0));
  TRY_ASSIGN(const bool tls, json_get_or<bool>(json, "tls", false));
  if (url.empty()) {
    if (port == 0) return fail(ErrorKind::invalid, "neither 'url' nor 'port' says where the node is");
    const bool v6 = peer_address.find(':') != std::string::npos;
    url = fmt::format("{}://{}{}{}:{}", tls ? "https" : "http", v6 ? "[" : "", peer_address, v6 ? "]" : "", port);
  }
  return checked_place(std::move(url), peer_address, policy);
}

}  // namespace

std::string_view to_string(NodeState state) {
  switch (state) {
    case NodeState::up:
      return "up";
    case NodeState::late:
      return "late";
    case NodeState::lost:
      return "lost";
  }
  return "lost";
}

Result<Heartbeat> Heartbeat::parse(const std::string& name, std::string_view body,
                                   const std::string& peer_address, const PlacePolicy& policy) {
  auto json = parse_json(body, "the heartbeat");
  if (!json) return fail(ErrorKind::invalid, "{}", json.error().message);
  if (!json->is_object()) return fail(ErrorKind::invalid, "the heartbeat is not a JSON object");
  auto beat = parse_heartbeat(name, *json);
  if (!beat) return fail(ErrorKind::invalid, "{}", beat.error().message);
  auto place = told_place(*json, peer_address, policy);
  if (!place) return fail(ErrorKind::invalid, "{}", place.error().message);
  beat->place = std::move(*place);
  return beat;
}

NodeRegistry::NodeRegistry(std::filesystem::path file, const Clock& clock, PlacePolicy policy)
    : file_(std::move(file)), clock_(clock), policy_(policy) {
  if (const auto loaded = load(); !loaded && loaded.error().kind != ErrorKind::not_found) {
    log_warning("{} is not used ({}); the nodes will come back with their heartbeats",
                file_.string(), loaded.error().message);
    std::error_code ec;
    std::filesystem::rename(file_, file_.string() + ".damaged", ec);
  }
}

Result<> NodeRegistry::load() {
  TRY_ASSIGN(const std::string text, read_file(file_));
  TRY_ASSIGN(const Json json, parse_json(text, file_.string()));
  const auto nodes = json.find("nodes");
  if (nodes == json.end() || !nodes->is_array())
    return fail(ErrorKind::corrupt, "it lists no nodes");
  for (const Json& one : *nodes) {
    TRY_ASSIGN(const std::string name, json_get<std::string>(one, "name"));
    TRY_ASSIGN(Heartbeat beat, parse_heartbeat(name, one));
    TRY_ASSIGN(std::string url, json_get<std::string>(one, "url"));
    // A file of an earlier version tells no address.
    TRY_ASSIGN(const auto address, json_get_or<std::string>(one, "address", std::string(host_of(url))));
    // The hub's options may be others than when it was written.
    auto place = checked_place(std::move(url), address, policy_);
    if (!place) {
      log_warning("node {} is not called before its next heartbeat: {}", name, place.error().message);
      continue;
    }
    TRY_ASSIGN(const int64_t seen, json_time(one, "last_seen"));
    Entry entry;
    entry.info = {beat.name, std::move(*place), beat.version, beat.incarnation,
                  seen,      NodeState::lost,   beat.status,  beat.clock};
    entry.seen_mono_ns = clock_.monotonic_ns() - std::max<int64_t>(0, clock_.realtime_ns() - seen);
    entries_.insert_or_assign(name, std::move(entry));
  }
  return {};
}

NodeState NodeRegistry::state_of(const Entry& entry) const {
  const int64_t silent_ns = clock_.monotonic_ns() - entry.seen_mono_ns;
  if (silent_ns > kLostAfter) return NodeState::lost;
  return silent_ns > kLateAfter ? NodeState::late : NodeState::up;
}

Result<> NodeRegistry::take(Heartbeat beat) {
  const std::lock_guard lock(mutex_);
  ++heartbeats_;
  const auto it = entries_.find(beat.name);
  if (it != entries_.end()) {
    const Entry& known = it->second;
    // A daemon that was killed and started again has another incarnation but the same place, which
    // cannot be taken twice.
    if (known.info.incarnation != beat.incarnation && known.info.place != beat.place &&
        state_of(known) == NodeState::up) {
      return fail(ErrorKind::conflict,
                  "the node name '{}' is used by the daemon at {}, which is alive; give this one "
                  "another with --node",
                  beat.name, known.info.place.url);
    }
  } else if (entries_.size() >= kMaxKnownNodes) {
    return fail(ErrorKind::no_space, "this hub knows {} nodes already, and takes no more",
                entries_.size());
  } else {
    log_info("node {} is at {} (lookback {})", beat.name, beat.place.url, beat.version);
  }
  Entry entry;
  entry.seen_mono_ns = clock_.monotonic_ns();
  entry.info = {
      beat.name,            std::move(beat.place), std::move(beat.version), std::move(beat.incarnation),
      clock_.realtime_ns(), NodeState::up,         beat.status,             beat.clock};
  entries_.insert_or_assign(beat.name, std::move(entry));
  dirty_ = true;
  return {};
}

std::vector<NodeInfo> NodeRegistry::nodes() const {
  std::vector<NodeInfo> list;
  {
    const std::lock_guard lock(mutex_);
    list.reserve(entries_.size());
    for (const auto& [name, entry] : entries_) {
      list.push_back(entry.info);
      list.back().state = state_of(entry);
    }
  }
  std::sort(list.begin(), list.end(),
            [](const NodeInfo& a, const NodeInfo& b) { return a.name < b.name; });
  return list;
}

std::optional<NodeInfo> NodeRegistry::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(name);
  if (it == entries_.end()) return std::nullopt;
  NodeInfo info = it->second.info;
  info.state = state_of(it->second);
  return info;
}

bool NodeRegistry::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(name);
  if (it == entries_.end()) return false;
  entries_.erase(it);
  dirty_ = true;
  return true;
}

uint64_t NodeRegistry::heartbeats() const {
  const std::lock_guard lock(mutex_);
  return heartbeats_;
}

void NodeRegistry::save_if_due(bool now_at_once) {
  const std::lock_guard save_lock(save_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (!dirty_) return;
    const int64_t now = clock_.monotonic_ns();
    if (!now_at_once && saved_mono_ns_ != 0 && now - saved_mono_ns_ < kSaveInterval) return;
    saved_mono_ns_ = now;
    dirty_ = false;
  }
  Json list = Json::array();
  for (const NodeInfo& node : nodes()) {
    list.push_back({{"name", node.name},
                    {"url", node.place.url},
                    {"address", node.place.address},
                    {"version", node.version},
                    {"incarnation", node.incarnation},
                    {"last_seen", time_to_json(node.last_seen_ns)},
                    {"status", status_json(node.status)},
                    {"clock", clock_json(node.clock)}});
  }
  if (const auto written = write_file_atomically(file_, to_text({{"nodes", std::move(list)}}));
      !written) {
    log_warning("{}", written.error().message);
    const std::lock_guard lock(mutex_);
    dirty_ = true;
  }
}

Json node_json(const NodeInfo& node) {
  Json clock = nullptr;
  if (node.clock)
    clock = {{"offset_ns", node.clock->offset_ns}, {"error_ns", node.clock->error_ns}};
  return {{"name", node.name},
          {"url", node.place.url},
          {"version", node.version},
          {"state", to_string(node.state)},
          {"last_seen", time_to_json(node.last_seen_ns)},
          {"oldest", time_to_json(node.status.oldest_ns)},
          {"newest", time_to_json(node.status.newest_ns)},
          {"packets", node.status.packets},
          {"packets_per_second", node.status.packets_per_second},
          {"bytes_per_second", node.status.bytes_per_second},
          {"dropped", node.status.dropped},
          {"retention_ns", node.status.retention_ns},
          {"used_bytes", node.status.used_bytes},
          {"quota_bytes", node.status.quota_bytes},
          {"clock", std::move(clock)}};
}

}  // namespace lookback::hub
