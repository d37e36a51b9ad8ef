#include "lookback/exporter/flows.hpp"

#include <algorithm>

#include "exporter/attribution.hpp"
#include "exporter/export_run.hpp"
#include "exporter/flow_table.hpp"
#include "exporter/process_filter.hpp"
#include "lookback/base/json.hpp"

namespace lookback::exporter {

namespace {

std::string_view state_name(FlowState state) {
  switch (state) {
    case FlowState::none:
      break;
    case FlowState::connecting:
      return "connecting";
    case FlowState::open:
      return "open";
    case FlowState::closed:
      return "closed";
    case FlowState::reset:
      return "reset";
  }
  return "";
}

Json json_of(const FlowEnd& end) {
  Json json;
  json["ip"] = end.address.to_string();
  if (end.port != 0) json["port"] = end.port;
  json["packets"] = end.packets;
  json["bytes"] = end.bytes;
  json["retransmits"] = end.retransmits;
  if (end.pid == 0) return json;
  json["pid"] = end.pid;
  json["process"] = end.process;
  if (end.container_id.empty()) return json;
  json["container"] = end.container;
  json["container_id"] = end.container_id;
  if (!end.pod_uid.empty()) json["pod_uid"] = end.pod_uid;
  return json;
}

}  // namespace

Result<FlowReport> report_flows(const std::shared_ptr<archive::ArchiveReader>& archive,
                                const ExportOptions& options, const std::atomic<bool>* cancelled) {
  ExportOptions wanted = options;
  wanted.format = Format::pcapng;
  wanted.dedup = false;  // a copy on another interface is the same flow, not one packet less
  TRY_ASSIGN(Plan plan, make_plan(archive->manifest(), wanted, cancelled));
  plan.digests = true;
  TRY_ASSIGN(MemoryBudget::Share memory, reserve_memory(plan, true, cancelled));
  Attribution attribution(plan, *archive, cancelled);
  FlowTable table(plan, kMostFlows, attribution.any() ? &attribution : nullptr);
  ProcessFilter chosen(wanted, attribution, table);
  MergeSink& sink = ProcessFilter::wanted(wanted) ? static_cast<MergeSink&>(chosen) : table;
  TRY_ASSIGN(const RunStats stats, run_plan(plan, *archive, wanted, sink, memory, cancelled));
  FlowReport report;
  TRY_ASSIGN(report.flows, table.take(cancelled));
  report.packets_read = stats.packets_read;
  report.packets_of_no_flow = table.packets_of_no_flow();
  report.packets_untold = table.packets_untold();
  report.complete = plan.complete;
  report.warnings = plan.warnings;
  report.warnings.insert(report.warnings.end(), stats.warnings.begin(), stats.warnings.end());
  for (std::string& line : attribution.warnings()) report.warnings.push_back(std::move(line));
  for (std::string& line : chosen.warnings()) report.warnings.push_back(std::move(line));
  if (report.packets_untold > 0) {
    report.warnings.push_back(
        fmt::format("there are more than {} flows: {} packets of others are not told; choose with "
                    "--filter, --ip, --from and --to",
                    kMostFlows, report.packets_untold));
  }
  return report;
}

Result<FlowOrder> parse_flow_order(std::string_view text) {
  if (text == "start") return FlowOrder::start;
  if (text == "bytes") return FlowOrder::bytes;
  if (text == "packets") return FlowOrder::packets;
  if (text == "retransmits") return FlowOrder::retransmits;
  if (text == "rtt") return FlowOrder::rtt;
  return fail(ErrorKind::invalid,
              "flows are sorted by start, bytes, packets, retransmits or rtt, not by '{}'", text);
}

void arrange_flows(FlowReport& report, FlowOrder order, size_t limit) {
  const auto largest_first = [&](const auto& value_of) {
    std::stable_sort(report.flows.begin(), report.flows.end(),
                     [&](const Flow& a, const Flow& b) { return value_of(a) > value_of(b); });
  };
  switch (order) {
    case FlowOrder::start:
      break;  // as they are
    case FlowOrder::bytes:
      largest_first([](const Flow& flow) { return flow.bytes(); });
      break;
    case FlowOrder::packets:
      largest_first([](const Flow& flow) { return flow.packets(); });
      break;
    case FlowOrder::retransmits:
      largest_first([](const Flow& flow) { return flow.retransmits(); });
      break;
    case FlowOrder::rtt:
      largest_first([](const Flow& flow) { return flow.rtt_ns.value_or(-1); });
      break;
  }
  if (limit != 0 && report.flows.size() > limit) report.flows.resize(limit);
}

std::string protocol_name(uint8_t protocol) {
  switch (protocol) {
    case 1:
      return "icmp";
    case 2:
      return "igmp";
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 33:
      return "dccp";
    case 47:
      return "gre";
    case 50:
      return "esp";
    case 51:
      return "ah";
    case 58:
      return "icmp6";
    case 89:
      return "ospf";
    case 112:
      return "vrrp";
    case 132:
      return "sctp";
    case 136:
      return "udplite";
    default:
      return std::to_string(protocol);
  }
}

std::string to_json(const Flow& flow) {
  Json json;
  json["node"] = flow.node;
  json["interface"] = flow.interface;
  if (flow.ifindex != 0) json["ifindex"] = flow.ifindex;
  if (!flow.vlans.empty()) json["vlans"] = flow.vlans;
  if (flow.tunnel_id) json["tunnel_id"] = *flow.tunnel_id;
  json["protocol"] = protocol_name(flow.protocol);
  if (flow.state != FlowState::none) json["state"] = state_name(flow.state);
  json["start"] = format_time_ns(flow.first_ns);
  json["end"] = format_time_ns(flow.last_ns);
  json["packets"] = flow.packets();
  json["bytes"] = flow.bytes();
  json["retransmits"] = flow.retransmits();
  if (flow.rtt_ns) json["rtt_us"] = static_cast<double>(*flow.rtt_ns) / 1000;
  json["client"] = json_of(flow.client);
  json["server"] = json_of(flow.server);
  return dump_json(json);
}

Result<> write_json(const FlowReport& report, const Sink& sink) {
  constexpr size_t kPart = 256 << 10;
  const Json summary = {{"complete", report.complete},
                        {"packets_read", report.packets_read},
                        {"packets_of_no_flow", report.packets_of_no_flow},
                        {"packets_untold", report.packets_untold},
                        {"warnings", report.warnings}};
  std::string text = dump_json(summary);
  text.back() = ',';  // the object goes on
  text += "\"flows\":[";
  for (const Flow& flow : report.flows) {
    if (&flow != report.flows.data()) text += ',';
    text += "\n" + to_json(flow);
    if (text.size() < kPart) continue;
    TRY(sink(std::as_bytes(std::span(text))));
    text.clear();
  }
  text += "]}\n";
  return sink(std::as_bytes(std::span(text)));
}

}  // namespace lookback::exporter
