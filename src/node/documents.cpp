#include "node/documents.hpp"

#include <cmath>

#include "lookback/archive/member_kind.hpp"
#include "lookback/base/coverage_json.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/json_time.hpp"
#include "lookback/base/version.hpp"
#include "node/event_member.hpp"

namespace lookback::node {
namespace {

Json interfaces_document(const std::vector<packet::Interface>& interfaces) {
  Json list = Json::array();
  for (const auto& interface : interfaces)
    list.push_back({{"name", interface.name},
                    {"link_type", interface.link_type},
                    {"mac", interface.mac},
                    {"index", interface.index}});
  return list;
}

/// As far as it touches the window.
Json excluded_document(const std::vector<ExcludedInterval>& excluded, TimeWindow window) {
  Json list = Json::array();
  for (const auto& one : excluded)
    list.push_back({{"connection", to_string(one.connection)},
                    {"from", time_to_json(std::max(one.from_ns, window.from_ns))},
                    {"to", time_to_json(std::min(one.to_ns.value_or(window.to_ns), window.to_ns))}});
  return list;
}

Json rate_document(const Rates& rates) {
  return {{"packets_per_second", std::round(rates.packets_per_second * 10) / 10},
          {"bytes_per_second", std::round(rates.bytes_per_second * 10) / 10}};
}

Json drops_document(const RecorderTotals& totals) {
  return {{"packets", totals.dropped},
          {"stalls", totals.stalls},
          {"disk_full_packets", totals.disk_full_packets},
          {"disk_error_packets", totals.disk_error_packets}};
}

Json clock_document(const std::optional<HeartbeatStatus>& heartbeat) {
  if (!heartbeat || !heartbeat->clock) return nullptr;
  return {{"offset_ns", heartbeat->clock->offset_ns},
          {"error_ns", heartbeat->clock->error_ns},
          {"measured", time_to_json(heartbeat->clock->measured_ns)}};
}

void add_retention(Json& document, const DaemonState& state) {
  const auto retention = retention_ns(state.store.quota_bytes,
                                      state.store.frozen_bytes + state.store.reserved_bytes,
                                      state.rates.disk_bytes_per_second);
  document["retention_ns"] = retention ? Json(*retention) : Json(nullptr);
  document["retention_text"] = retention ? format_duration(*retention) : "not known yet";
}

Json events_document(const observe::ObserverStatus& events) {
  return {{"state", events.state},
          {"reason", events.reason},
          {"events", events.events},
          {"lost", events.lost + events.store.lost_events},
          {"limited", events.limited},
          {"missed", events.missed},
          {"processes", events.processes},
          {"sockets", events.sockets},
          {"oldest", time_to_json(events.store.oldest_ns)},
          {"used_bytes", events.store.used_bytes},
          {"quota_bytes", events.store.quota_bytes},
          {"borrowed_bytes", events.store.borrowed_bytes},
          {"frozen_bytes", events.store.frozen_bytes}};
}

std::string label_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

/// Lines in the Prometheus text format 0.0.4.
class Metrics {
 public:
  template <class T>
  void add(std::string_view name, std::string_view type, std::string_view help, T value,
           std::string_view labels = {}) {
    text_ += fmt::format("# HELP lookback_capture_{} {}\n# TYPE lookback_capture_{} {}\n", name,
                         help, name, type);
    sample(name, value, labels);
  }
  template <class T>
  void sample(std::string_view name, T value, std::string_view labels) {
    text_ += fmt::format("lookback_capture_{}{} {}\n", name, labels, value);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::optional<int64_t> retention_ns(uint64_t quota_bytes, uint64_t frozen_bytes,
                                    double disk_bytes_per_second) {
  if (disk_bytes_per_second < 1) return std::nullopt;
  const double free_bytes =
      static_cast<double>(quota_bytes) - static_cast<double>(std::min(frozen_bytes, quota_bytes));
  constexpr double kLongest = 100.0 * 365 * 24 * 3600;
  return static_cast<int64_t>(std::min(free_bytes / disk_bytes_per_second, kLongest) * 1e9);
}

Json heartbeat_status_document(const DaemonState& state) {
  Json document{{"oldest", time_to_json(state.store.oldest_ns)},
                {"newest", time_to_json(state.store.newest_ns)},
                {"packets", state.store.packets},
                {"rate", rate_document(state.rates)},
                {"drops", drops_document(state.totals)},
                {"used_bytes", state.store.used_bytes},
                {"quota_bytes", state.store.quota_bytes},
                {"frozen_bytes", state.store.frozen_bytes}};
  add_retention(document, state);
  return document;
}

Json status_document(const DaemonState& state) {
  const auto& options = *state.options;
  Json document = heartbeat_status_document(state);
  document["node"] = options.node;
  document["version"] = version();
  document["started"] = time_to_json(state.started_ns);
  document["hub"] = {{"url", options.hub_url},
                     {"registered", state.heartbeat && state.heartbeat->registered},
                     {"last_heartbeat", state.heartbeat ? time_to_json(state.heartbeat->last_ns) : Json(nullptr)},
                     {"error", state.heartbeat ? state.heartbeat->error : ""}};
  document["segments"] = state.store.segments;
  document["damaged_segments"] = state.store.damaged_segments;
  document["interfaces"] = interfaces_document(state.interfaces);
  document["clock"] = clock_document(state.heartbeat);
  document["gaps"] = gaps_to_json(state.gaps);
  document["filter"] = options.filter;
  document["excluded"] = Json::array();
  for (const auto& connection : state.excluded) document["excluded"].push_back(to_string(connection));
  document["promiscuous"] = options.promiscuous && !options.interfaces.empty();
  document["snaplen"] = options.snaplen;
  document["ring_bytes"] = state.ring_bytes;
  std::string layer = "recording", reason;
  if (state.failure) {
    layer = "failed";
    reason = state.failure->message;
  } else if (state.disk_failing) {
    layer = "losing";
    reason = "the disk does not take packets";
  }
  document["layers"] = {{"packets", {{"state", layer}, {"reason", reason}}}};
  if (state.events) document["layers"]["os_events"] = events_document(*state.events);
  return document;
}

Json freeze_document(const FrozenWindow& window, const std::vector<ExcludedInterval>& excluded) {
  const auto& freeze = window.freeze;
  Json members = Json::array();
  for (size_t i = 0; i < freeze.runs.size(); ++i) {
    const auto& run = freeze.runs[i];
    members.push_back({{"index", i},
                       {"kind", archive::info_of(archive::MemberKind::packets).name},
                       {"packets", run.packets},
                       {"content_bytes", content_bound(run)},
                       {"first", time_to_json(run.first_ns)},
                       {"last", time_to_json(run.last_ns)},
                       {"state", run.given_up ? "given_up" : "available"}});
  }
  uint64_t event_bytes = 0, event_content = 0;
  for (const auto& segment : window.events) {
    event_bytes += segment.bytes;
    event_content += event_content_bound(segment);
    members.push_back({{"index", event_member_index(segment)},
                       {"kind", archive::info_of(archive::MemberKind::os_events).name},
                       {"packets", 0},
                       {"content_bytes", event_content_bound(segment)},
                       {"first", time_to_json(segment.first_ns)},
                       {"last", time_to_json(segment.last_ns)},
                       {"state", "available"}});
  }
  Json layers = Json::object();
  if (!window.events_state.empty())
    layers["os_events"] = {{"state", window.events_state}, {"reason", window.events_reason}};
  return {{"id", freeze.id},
          {"owner", freeze.owner},
          {"hub", window.hub},
          {"from", time_to_json(freeze.window.from_ns)},
          {"to", time_to_json(freeze.window.to_ns)},
          {"created", time_to_json(freeze.created_ns)},
          {"expires", time_to_json(freeze.expires_ns)},
          {"oldest", time_to_json(freeze.oldest_ns)},
          {"complete", window.complete},
          {"reason", window.reason},
          {"gaps", gaps_to_json(freeze.gaps)},
          {"clock", clock_to_json(freeze.clock)},
          {"interfaces", interfaces_document(window.estimate.interfaces)},
          {"content_bytes", window.estimate.content_bytes + event_content},
          // A record and its line compressed are about as long.
          {"compressed_bytes", window.estimate.compressed_bytes + event_bytes},
          {"layers", std::move(layers)},
          {"excluded", excluded_document(excluded, freeze.window)},
          {"members", std::move(members)}};
}

std::string metrics_text(const DaemonState& state) {
  const auto& totals = state.totals;
  const auto seconds = [](const std::optional<int64_t>& ns) {
    return ns ? static_cast<double>(*ns) / 1e9 : 0.0;
  };
  Metrics metrics;
  metrics.add("build_info", "gauge", "What runs.", 1,
              fmt::format("{{version=\"{}\",node=\"{}\"}}", version(),
                          label_escaped(state.options->node)));
  metrics.add("start_time_seconds", "gauge", "When the daemon started.",
              static_cast<double>(state.started_ns) / 1e9);
  metrics.add("packets_total", "counter", "Packets that the kernel handed over.", totals.packets);
  metrics.add("bytes_total", "counter", "Their captured bytes.", totals.bytes);
  metrics.add("dropped_packets_total", "counter", "Packets lost.", totals.dropped,
              "{reason=\"ring_full\"}");
  metrics.sample("dropped_packets_total", totals.disk_full_packets, "{reason=\"disk_full\"}");
  metrics.sample("dropped_packets_total", totals.disk_error_packets, "{reason=\"disk_error\"}");
  metrics.add("ring_stalls_total", "counter", "Times the kernel's ring was full.", totals.stalls);
  metrics.add("blocks_total", "counter", "Blocks written.", totals.whole_blocks, "{kind=\"kernel\"}");
  metrics.sample("blocks_total", totals.compact_blocks, "{kind=\"compact\"}");
  metrics.add("written_bytes_total", "counter", "Bytes written for packets.", totals.disk_bytes);
  metrics.add("stored_packets", "gauge", "Packets in the store.", state.store.packets);
  metrics.add("stored_segments", "gauge", "Segments in the store.", state.store.segments);
  metrics.add("damaged_segments", "gauge", "Segments that did not read back whole.",
              state.store.damaged_segments);
  metrics.add("used_bytes", "gauge", "Bytes that the store takes.", state.store.used_bytes);
  metrics.add("frozen_bytes", "gauge", "Of these, bytes of frozen segments.",
              state.store.frozen_bytes);
  metrics.add("quota_bytes", "gauge", "What the store may take.", state.store.quota_bytes);
  metrics.add("oldest_packet_seconds", "gauge", "Time of the oldest packet, 0 for none.",
              seconds(state.store.oldest_ns));
  metrics.add("newest_packet_seconds", "gauge", "Time of the newest packet on disk, 0 for none.",
              seconds(state.store.newest_ns));
  metrics.add("gaps", "gauge", "Intervals in the stored time in which packets are missing.",
              state.gap_count);
  metrics.add("freezes", "gauge", "Frozen windows.", state.freezes);
  if (state.events) {
    metrics.add("os_events_total", "counter", "Events of processes and sockets that were kept.",
                state.events->events);
    metrics.add("lost_os_events_total", "counter", "Events lost.", state.events->lost,
                "{reason=\"ring_full\"}");
    metrics.sample("lost_os_events_total", state.events->store.lost_events, "{reason=\"disk\"}");
    metrics.sample("lost_os_events_total", state.events->limited, "{reason=\"limit\"}");
    metrics.add("missed_os_event_calls_total", "counter",
                "Calls that the kernel left out because the same program was interrupted for them.",
                state.events->missed);
    metrics.add("os_events_recording", "gauge", "1 while events are recorded.",
                state.events->state == "off" ? 0 : 1);
    metrics.add("os_events_used_bytes", "gauge", "Bytes that events take.",
                state.events->store.used_bytes);
    metrics.add("os_events_borrowed_bytes", "gauge",
                "Bytes of the packets' storage that are lent to events.",
                state.events->store.borrowed_bytes);
  }
  metrics.add("hub_registered", "gauge", "1 while the hub answers.",
              state.heartbeat && state.heartbeat->registered ? 1 : 0);
  if (state.heartbeat && state.heartbeat->clock) {
    metrics.add("clock_offset_seconds", "gauge", "Node clock less hub clock.",
                static_cast<double>(state.heartbeat->clock->offset_ns) / 1e9);
    metrics.add("clock_error_seconds", "gauge", "Bound of the offset's error.",
                static_cast<double>(state.heartbeat->clock->error_ns) / 1e9);
  }
  return metrics.take();
}

}  // namespace lookback::node
