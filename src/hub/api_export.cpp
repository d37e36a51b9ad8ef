// Capture files out of archives, streamed.
#include <charconv>
#include <thread>

#include "api.hpp"
#include "json_text.hpp"
#include "lookback/exporter/exporter.hpp"
#include "lookback/exporter/flows.hpp"
#include "parallel.hpp"

namespace lookback::hub {

namespace {

/// Each takes several threads and the memory of the frames that overlap.
constexpr unsigned kMostExports = 16;
constexpr std::chrono::milliseconds kLookAfterClient{500};
constexpr size_t kMaxSummaryId = 128;

/// An empty value chooses nothing, so it must not be taken for a choice that was not made.
Result<> not_empty(const std::string& value, std::string_view key) {
  if (!value.empty()) return {};
  return fail(ErrorKind::invalid, "'{}' is empty: leave it out for the default", key);
}

Result<std::vector<std::string>> values_of(const http::Request& request, const std::string& key) {
  std::vector<std::string> values;
  const auto [first, last] = request.query.equal_range(key);
  for (auto it = first; it != last; ++it) {
    TRY(not_empty(it->second, key));
    values.push_back(it->second);
  }
  return values;
}

Result<std::optional<std::string>> value_of(const http::Request& request, const std::string& key) {
  auto value = request.query_value(key);
  if (value) TRY(not_empty(*value, key));
  return value;
}

Result<std::optional<int64_t>> time_of(const http::Request& request, const std::string& key) {
  auto text = request.query_value(key);
  if (!text) return std::nullopt;
  // An offset such as +02:00 whose plus sign was not escaped arrives as a blank.
  if (const auto blank = text->rfind(' '); blank != std::string::npos && blank > 10)
    (*text)[blank] = '+';
  const auto time = parse_rfc3339(*text);
  if (!time) return fail(ErrorKind::invalid, "'{}': {}", key, time.error().message);
  return *time;
}

Result<bool> flag_of(const http::Request& request, const std::string& key) {
  const auto text = request.query_value(key);
  if (!text || *text == "0" || *text == "false") return false;
  if (text->empty() || *text == "1" || *text == "true") return true;
  return fail(ErrorKind::invalid, "'{}' is 0 or 1, not '{}'", key, *text);
}

Result<uint64_t> number_of(const std::string& text, std::string_view key, uint64_t least,
                           uint64_t most) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most)
    return fail(ErrorKind::invalid, "'{}' is a number from {} to {}, not '{}'", key, least, most,
                text);
  return number;
}

/// Those that choose packets, `more`, and no others: a misspelt filter must not become an export of
/// everything.
Result<exporter::ExportOptions> choice_of(const http::Request& request,
                                          const std::set<std::string>& more) {
  static const std::set<std::string> kChoice{"from",   "to",      "node", "interface", "ip",
                                             "filter", "process", "pid",  "container"};
  for (const auto& [key, value] : request.query) {
    if (!kChoice.contains(key) && !more.contains(key))
      return fail(ErrorKind::invalid, "there is no export option '{}'", key);
  }
  exporter::ExportOptions options;
  TRY_ASSIGN(options.from_ns, time_of(request, "from"));
  TRY_ASSIGN(options.to_ns, time_of(request, "to"));
  TRY_ASSIGN(options.nodes, values_of(request, "node"));
  TRY_ASSIGN(options.interfaces, values_of(request, "interface"));
  TRY_ASSIGN(const auto networks, values_of(request, "ip"));
  for (const std::string& text : networks) {
    TRY_ASSIGN(const packet::Cidr cidr, packet::Cidr::parse(text));
    options.networks.push_back(cidr);
  }
  TRY_ASSIGN(const auto filter, value_of(request, "filter"));
  options.filter = filter.value_or("");
  TRY_ASSIGN(options.processes, values_of(request, "process"));
  TRY_ASSIGN(options.containers, values_of(request, "container"));
  TRY_ASSIGN(const auto pids, values_of(request, "pid"));
  for (const std::string& text : pids) {
    TRY_ASSIGN(const uint64_t pid, number_of(text, "pid", 1, UINT32_MAX));
    options.pids.push_back(static_cast<uint32_t>(pid));
  }
  return options;
}

Result<exporter::ExportOptions> options_of(const http::Request& request) {
  TRY_ASSIGN(exporter::ExportOptions options,
             choice_of(request, {"format", "snaplen", "dedup", "align_clocks", "summary_id"}));
  const std::string format = request.query_value("format").value_or("pcapng");
  if (format != "pcapng" && format != "pcap" && format != "pcap-us")
    return fail(ErrorKind::invalid, "the format is pcapng, pcap or pcap-us, not '{}'", format);
  options.format = format == "pcapng" ? exporter::Format::pcapng : exporter::Format::pcap;
  options.microseconds = format == "pcap-us";
  // As on the command line, 0 is whole packets.
  TRY_ASSIGN(const uint64_t snaplen,
             number_of(request.query_value("snaplen").value_or("0"), "snaplen", 0, UINT32_MAX));
  options.snaplen = static_cast<uint32_t>(snaplen);
  TRY_ASSIGN(options.dedup, flag_of(request, "dedup"));
  TRY_ASSIGN(options.align_clocks, flag_of(request, "align_clocks"));
  TRY_ASSIGN(const auto summary_id, value_of(request, "summary_id"));
  if (summary_id.value_or("").size() > kMaxSummaryId)
    return fail(ErrorKind::invalid, "the summary_id is too long");
  return options;
}

/// Sets a flag when the client has gone, also while the export finds nothing to write; ends with
/// the object.
class ClientWatch {
 public:
  ClientWatch(const http::BodyWriter& write, const std::atomic<bool>& stopping) {
    auto thread = try_thread([this, &write, &stopping] {
      std::unique_lock lock(mutex_);
      while (!done_) {
        if (stopping || !write({})) gone_ = true;
        changed_.wait_for(lock, kLookAfterClient, [&] { return done_; });
      }
    });
    if (thread)
      thread_ = std::move(*thread);  // without it a client that goes is seen with the next packet
  }
  ~ClientWatch() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  ClientWatch(const ClientWatch&) = delete;
  ClientWatch& operator=(const ClientWatch&) = delete;
  [[nodiscard]] const std::atomic<bool>& gone() const { return gone_; }

 private:
  std::atomic<bool> gone_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

/// One of the kMostExports, given back on destruction.
class ExportSlot {
 public:
  explicit ExportSlot(std::atomic<unsigned>& running)
      : running_(running), taken_(running.fetch_add(1) < kMostExports) {}
  ~ExportSlot() { --running_; }
  ExportSlot(const ExportSlot&) = delete;
  ExportSlot& operator=(const ExportSlot&) = delete;
  [[nodiscard]] bool taken() const { return taken_; }

 private:
  std::atomic<unsigned>& running_;
  const bool taken_;
};

Result<std::shared_ptr<archive::ArchiveReader>> open_archive(const std::string& name,
                                                             ApiContext& context) {
  if (!context.library.contains(name)) {
    TRY(context.snapshots.show(name));
    return fail(ErrorKind::conflict, "snapshot {} has no archive (yet)", name);
  }
  return context.library.open(name);
}

http::Response busy() {
  return http::Response::problem(
      {ErrorKind::unavailable, fmt::format("{} exports are running already: try again later", kMostExports)});
}

http::Response export_pcap(http::Request& request, ApiContext& context) {
  const std::string& name = request.parameters.at("name");
  const auto options = options_of(request);
  if (!options) return http::Response::problem(options.error());
  const auto reader = open_archive(name, context);
  if (!reader) return http::Response::problem(reader.error());
  const auto slot = std::make_shared<ExportSlot>(context.running_exports);
  if (!slot->taken()) return busy();
  http::Response response;
  const bool pcapng = options->format == exporter::Format::pcapng;
  response.content_type = pcapng ? "application/x-pcapng" : "application/vnd.tcpdump.pcap";
  response.headers["X-Lookback-Complete"] = (*reader)->manifest().complete ? "true" : "false";
  response.headers["Content-Disposition"] =
      fmt::format("attachment; filename=\"{}.{}\"", name, pcapng ? "pcapng" : "pcap");
  const std::string summary_id = request.query_value("summary_id").value_or("");
  response.stream = [&context, reader = *reader, options = *options, slot,
                     summary_id](const http::BodyWriter& write) -> Result<> {
    if (!summary_id.empty()) context.exports.begin(summary_id);
    Result<exporter::ExportStats> outcome;
    {
      const ClientWatch watch(write, context.stopping);
      outcome = exporter::export_capture(
          reader, options, [&](std::span<const std::byte> data) { return write(data); },
          &watch.gone());
    }
    if (!summary_id.empty()) context.exports.end(summary_id, outcome);
    if (!outcome) return tl::make_unexpected(outcome.error());
    return {};
  };
  return response;
}

http::Response list_flows(http::Request& request, ApiContext& context) {
  const auto options = choice_of(request, {"sort", "limit"});
  if (!options) return http::Response::problem(options.error());
  const auto order = exporter::parse_flow_order(request.query_value("sort").value_or("start"));
  if (!order) return http::Response::problem(order.error());
  uint64_t limit = 0;  // all
  if (const auto text = request.query_value("limit")) {
    const auto number = number_of(*text, "limit", 1, UINT64_MAX);
    if (!number) return http::Response::problem(number.error());
    limit = *number;
  }
  const auto reader = open_archive(request.parameters.at("name"), context);
  if (!reader) return http::Response::problem(reader.error());
  const auto slot = std::make_shared<ExportSlot>(context.running_exports);
  if (!slot->taken()) return busy();
  // What is wrong with the options is told before a stream has begun.
  if (const auto outlook = exporter::export_outlook((*reader)->manifest(), *options); !outlook)
    return http::Response::problem(outlook.error());
  http::Response response;
  response.content_type = "application/json";
  response.stream = [&context, reader = *reader, options = *options, order = *order, limit,
                     slot](const http::BodyWriter& write) -> Result<> {
    const ClientWatch watch(write, context.stopping);
    TRY_ASSIGN(exporter::FlowReport report,
               exporter::report_flows(reader, options, &watch.gone()));
    exporter::arrange_flows(report, order, limit);
    return exporter::write_json(report, write);
  };
  return response;
}

http::Response show_export(http::Request& request, ApiContext& context) {
  const auto found = context.exports.find(request.parameters.at("id"));
  if (!found) return http::Response::problem(found.error());
  return http::Response::json(to_text(*found));
}

using http::Role, http::RunsOn;

const ApiRoute kExportRoutes[] = {
    {"GET", "/api/v1/snapshots/{name}/pcap", Role::client, RunsOn::worker, "Exports a capture file.", export_pcap},
    {"GET", "/api/v1/snapshots/{name}/flows", Role::client, RunsOn::worker, "Lists the flows of a snapshot.", list_flows},
    {"GET", "/api/v1/exports/{id}", Role::client, RunsOn::worker, "Tells what an export wrote, or how it ended.", show_export},
};

}  // namespace

ApiTable export_routes() {
  return kExportRoutes;
}

}  // namespace lookback::hub
