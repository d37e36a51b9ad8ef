#include "cli/packet_choice.hpp"

#include <optional>

#include "lookback/base/text.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/time.hpp"
#include "lookback/http/client.hpp"
#include "lookback/packet/filter.hpp"

namespace lookback::cli {

namespace {

struct Window {
  std::optional<int64_t> from_ns, to_ns;
};

Result<Window> window_of(const PacketChoice& choice) {
  const int64_t now = Clock::system().realtime_ns();
  Window window;
  if (choice.from) {
    TRY_ASSIGN(window.from_ns, parse_time(*choice.from, now));
  }
  if (choice.to) {
    TRY_ASSIGN(window.to_ns, parse_time(*choice.to, now));
  }
  if (window.from_ns && window.to_ns && *window.to_ns <= *window.from_ns) {
    return fail(ErrorKind::invalid,
                "the window from {} to {} is empty: --to must be later than --from",
                format_time(*window.from_ns), format_time(*window.to_ns));
  }
  return window;
}

}  // namespace

void add_choice_options(Command& command, PacketChoice& choice) {
  command.text("--from", "TIME", choice.from, "Packets from this time on");
  command.text("--to", "TIME", choice.to, "Packets before this time");
  command.list("--node", "NODE", choice.nodes,
               "Only this node, or those that match a pattern with * and ?");
  command.list("--interface", "NAME", choice.interfaces,
               "Only this interface, or those that match a pattern");
  command.list("--ip", "CIDR", choice.networks,
               "Only packets from or to these addresses, inside tunnels too");
  command.text("--filter", "PCAP-FILTER", choice.filter,
               "Only packets that match, in the language of pcap-filter(7)");
  command.list("--process", "NAME", choice.processes,
               "Only packets that a process of this name sent or got, or one that matches a "
               "pattern");
  command.numbers("--pid", choice.pids, "Only packets that this process sent or got");
  command.list(
      "--container", "NAME|ID", choice.containers,
      "Only packets of this container, by its name, a pattern, or the beginning of its id");
}

Result<exporter::ExportOptions> options_of(const PacketChoice& choice) {
  TRY_ASSIGN(const Window window, window_of(choice));
  exporter::ExportOptions wanted;
  wanted.from_ns = window.from_ns;
  wanted.to_ns = window.to_ns;
  wanted.nodes = choice.nodes;
  wanted.interfaces = choice.interfaces;
  for (const std::string& network : choice.networks) {
    TRY_ASSIGN(const packet::Cidr cidr, packet::Cidr::parse(network));
    wanted.networks.push_back(cidr);
  }
  wanted.filter = choice.filter.value_or("");
  wanted.processes = choice.processes;
  wanted.containers = choice.containers;
  wanted.pids = choice.pids;
  return wanted;
}

Result<std::string> query_of(const PacketChoice& choice) {
  TRY(options_of(choice));  // what is wrong is told here, not by the hub
  TRY_ASSIGN(const Window window, window_of(choice));
  std::string query;
  const auto add = [&](std::string_view key, std::string_view value) {
    query += fmt::format("&{}={}", key, http::url_encode(value));
  };
  if (window.from_ns) add("from", format_time_ns(*window.from_ns));
  if (window.to_ns) add("to", format_time_ns(*window.to_ns));
  for (const std::string& one : choice.nodes) add("node", one);
  // A URL is UTF-8: the bytes of a name travel as they are shown.
  for (const std::string& one : choice.interfaces) add("interface", printable(one));
  for (const std::string& one : choice.networks) add("ip", one);
  if (choice.filter) {
    TRY(packet::Filter::check_size(*choice.filter));
    add("filter", *choice.filter);
  }
  for (const std::string& one : choice.processes) add("process", one);
  for (const uint32_t one : choice.pids) add("pid", std::to_string(one));
  for (const std::string& one : choice.containers) add("container", one);
  return query;
}

}  // namespace lookback::cli
