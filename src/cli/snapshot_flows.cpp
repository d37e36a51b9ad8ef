// lookback snapshot flows

#include <unistd.h>

#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/interrupt.hpp"
#include "cli/json_text.hpp"
#include "cli/packet_choice.hpp"
#include "cli/snapshot_view.hpp"
#include "cli/table.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/text.hpp"
#include "lookback/exporter/flows.hpp"

namespace lookback::cli {

namespace {

struct SnapshotFlowsOptions {
  HubSettings hub;
  std::string snapshot;
  PacketChoice choice;
  std::string output = "table", sort = "bytes";
  std::optional<uint32_t> limit;
};

constexpr std::string_view kCsvHeader =
    "start,end,node,interface,protocol,state,client_ip,client_port,server_ip,server_port,packets,"
    "bytes,retransmits,rtt_us,client_packets,client_bytes,client_retransmits,server_packets,"
    "server_bytes,server_retransmits,client_pid,client_process,client_container,server_pid,"
    "server_process,server_container,vlans,tunnel_id,ifindex\n";

/// A number as it is, an absent one as nothing.
std::string figure(const Json& object, std::string_view key) {
  const Json& value = member_of(object, key);
  return value.is_number() ? dump_json(value) : std::string();
}

/// "100.10", the outermost first; nothing without tags.
std::string vlans_of(const Json& flow) {
  std::string text;
  for (const Json& vlan : member_of(flow, "vlans")) {
    if (!text.empty()) text += '.';
    text += dump_json(vlan);
  }
  return text;
}

/// "tcp", "tcp vlan 100.10", "udp tunnel 7"
std::string protocol_and_network(const Json& flow) {
  std::string text = text_of(flow, "protocol");
  if (const std::string vlans = vlans_of(flow); !vlans.empty()) text += " vlan " + vlans;
  if (const std::string tunnel = figure(flow, "tunnel_id"); !tunnel.empty())
    text += " tunnel " + tunnel;
  return text;
}

std::string csv_line(const Json& flow) {
  std::string line;
  const auto add = [&](const std::string& text) {
    line += csv_field(text);
    line += ',';
  };
  const Json &client = member_of(flow, "client"), &server = member_of(flow, "server");
  for (const char* key : {"start", "end", "node", "interface", "protocol", "state"})
    add(text_of(flow, key));
  for (const Json* end : {&client, &server}) {
    add(text_of(*end, "ip"));
    add(figure(*end, "port"));
  }
  for (const char* key : {"packets", "bytes", "retransmits", "rtt_us"}) add(figure(flow, key));
  for (const Json* end : {&client, &server}) {
    for (const char* key : {"packets", "bytes", "retransmits"}) add(figure(*end, key));
  }
  for (const Json* end : {&client, &server}) {
    add(figure(*end, "pid"));
    add(text_of(*end, "process"));
    add(text_of(*end, "container"));
  }
  add(vlans_of(flow));
  add(figure(flow, "tunnel_id"));
  add(figure(flow, "ifindex"));
  line.back() = '\n';
  return line;
}

std::string endpoint(const Json& end) {
  const std::string ip = text_of(end, "ip"), port = figure(end, "port");
  if (port.empty()) return ip;
  return ip.find(':') == std::string::npos ? ip + ":" + port : "[" + ip + "]:" + port;
}

/// What is known of client and server: "curl > nginx", "- > nginx", or nothing.
std::string both(const Json& flow, std::string_view key) {
  const std::string client = text_of(member_of(flow, "client"), key),
                    server = text_of(member_of(flow, "server"), key);
  if (client.empty() && server.empty()) return {};
  return (client.empty() ? "-" : client) + " > " + (server.empty() ? "-" : server);
}

std::string round_trip(const Json& flow) {
  const Json& rtt = member_of(flow, "rtt_us");
  if (!rtt.is_number()) return "-";
  const double us = rtt.get<double>();
  return us < 1000 ? fmt::format("{:.0f} us", us) : fmt::format("{:.1f} ms", us / 1000);
}

/// Takes flows one by one and prints them in the form that was asked for.
class Printer {
 public:
  explicit Printer(const SnapshotFlowsOptions& options)
      : csv_(options.output == "csv"),
        table_({{"START"},
                {"NODE", false, 8},
                {"PROTOCOL"},
                {"CLIENT"},
                {"SERVER"},
                {"PACKETS", true},
                {"BYTES", true},
                {"RETRANS", true},
                {"RTT", true},
                {"STATE"},
                {"PROCESSES", false, 12},
                {"CONTAINERS", false, 12}}) {}

  Result<> begin() { return csv_ ? print(kCsvHeader) : Result<>{}; }
  Result<> add(const Json& flow) {
    if (csv_) return print(csv_line(flow));
    const auto number = [&](const char* key) {
      return static_cast<uint64_t>(number_of(flow, key));
    };
    const uint64_t again = number("retransmits");
    table_.add({time_of(flow, "start"),
                text_of(flow, "node"),
                protocol_and_network(flow),
                endpoint(member_of(flow, "client")),
                endpoint(member_of(flow, "server")),
                grouped(number("packets")),
                format_size(number("bytes")),
                {grouped(again), again > 0 ? Colour::yellow : Colour::none},
                round_trip(flow),
                text_of(flow, "state"),
                both(flow, "process"),
                both(flow, "container")});
    return {};
  }
  Result<> end() {
    if (csv_) return {};
    if (table_.empty()) {
      report_note("no flows");
      return {};
    }
    return print(table_.render(TableStyle::of(STDOUT_FILENO)));
  }

 private:
  bool csv_;
  Table table_;
};

Result<int> finish(const SnapshotFlowsOptions& options, const Json& summary) {
  for (const Json& warning : list_of(summary, "warnings")) {
    if (warning.is_string()) report_note(warning.get<std::string>());
  }
  if (truth_of(summary, "complete", true)) return kExitDone;
  report_note(fmt::format(
      "the window is not wholly covered: 'lookback snapshot show {}' tells what is missing",
      options.snapshot));
  return kExitIncomplete;
}

Result<> print_bytes(std::span<const std::byte> bytes) {
  return print({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Result<int> list_of_file(const SnapshotFlowsOptions& options) {
  TRY_ASSIGN(const exporter::ExportOptions wanted, options_of(options.choice));
  TRY_ASSIGN(const exporter::FlowOrder order, exporter::parse_flow_order(options.sort));
  TRY_ASSIGN(const auto reader, archive::ArchiveReader::open(options.snapshot));
  const Interrupt interrupt;
  auto report = exporter::report_flows(reader, wanted, &interrupt.flag());
  if (!report) {
    if (interrupt.requested()) return interrupt.exit_status();
    return tl::make_unexpected(report.error());
  }
  exporter::arrange_flows(*report, order, options.limit.value_or(0));
  if (options.output == "json") {
    TRY(exporter::write_json(*report, print_bytes));
  } else {
    Printer printer(options);
    TRY(printer.begin());
    for (const exporter::Flow& flow : report->flows)
      TRY(printer.add(Json::parse(exporter::to_json(flow))));
    TRY(printer.end());
  }
  return finish(options, {{"complete", report->complete}, {"warnings", report->warnings}});
}

Result<int> list_of_hub(const SnapshotFlowsOptions& options) {
  TRY_ASSIGN(const std::string query, query_of(options.choice));
  TRY_ASSIGN(std::string path, snapshot_path(options.snapshot, "/flows"));
  path += "?sort=" + options.sort + query;
  if (options.limit) path += fmt::format("&limit={}", *options.limit);
  HubClient::Options streaming;
  streaming.total_timeout_ms = 0;
  streaming.stall_timeout_ms = 600'000;  // everything is read before the first byte comes
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub, streaming));
  const Interrupt interrupt;
  std::string text;
  const auto response = hub.download(
      path,
      [&](std::span<const std::byte> bytes) -> Result<> {
        text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return {};
      },
      &interrupt.flag());
  if (!response) {
    if (interrupt.requested()) return interrupt.exit_status();
    return tl::make_unexpected(response.error());
  }
  TRY_ASSIGN(const Json document, parse_json(text, "the hub's answer"));
  if (options.output == "json") {
    TRY(print(without_hidden(std::move(text))));
  } else {
    Printer printer(options);
    TRY(printer.begin());
    for (const Json& flow : list_of(document, "flows")) TRY(printer.add(flow));
    TRY(printer.end());
  }
  return finish(options, document);
}

}  // namespace

Command snapshot_flows_command() {
  Command command("flows", "list the flows in a snapshot");
  auto options = std::make_shared<SnapshotFlowsOptions>();
  command.description =
      "Lists who talked to whom: for each flow its packets and bytes as they were on the wire, TCP "
      "segments that were sent again, the round trip time and the state at the end. A connection "
      "that reuses the ports of an earlier one is a flow of its own. Behind tunnels the inner "
      "addresses count. Where several interfaces of a node saw a flow, the figures are those of "
      "the one that saw most of it. Processes and containers at the ends are told as far as the "
      "node "
      "that saw the flow recorded OS events. An argument with a '/' in it, or that ends in .zst "
      "and exists, "
      "is an archive file and needs no hub.";
  command.argument("SNAPSHOT|FILE", options->snapshot, "A snapshot's name, or an archive file");
  command.choice("-o,--output", "table|json|csv", options->output,
                 "How to print; by default a table");
  command.choice("--sort", "bytes|packets|retransmits|rtt|start", options->sort,
                 "Largest first, or by the start; by default bytes");
  command.number("--limit", options->limit, "Only so many flows; by default all");
  add_choice_options(command, options->choice);
  add_hub_options(command, options->hub);
  command.examples = {
      {"lookback snapshot flows incident-1 --limit 20", "What used most of the network."},
      {"lookback snapshot flows incident-1 --sort retransmits --filter 'tcp port 443' -o csv",
       "The HTTPS connections, the worst first, for a spreadsheet."}};
  command.action = [options] {
    return means_file(options->snapshot) ? list_of_file(*options) : list_of_hub(*options);
  };
  return command;
}

}  // namespace lookback::cli
