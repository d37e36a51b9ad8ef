#include "cli/node_status.hpp"

#include <algorithm>

#include "cli/json_text.hpp"
#include "cli/table.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

namespace {

constexpr size_t kGapsShown = 10;

/// Columns of the names of facts.
constexpr size_t kStatusNames = 12;

uint64_t count(const Json& object, std::string_view key) {
  return static_cast<uint64_t>(std::max<int64_t>(0, number_of(object, key)));
}

double real(const Json& object, std::string_view key) {
  return json_get_or<double>(object, key, 0).value_or(0);
}

std::string hub_line(const Json& hub, int64_t now_ns) {
  const std::string url = text_of(hub, "url");
  if (url.empty()) return "none";
  std::string line = url + (truth_of(hub, "registered") ? ", registered" : ", not registered");
  if (!text_of(hub, "last_heartbeat").empty())
    line += ", heard of " + ago(text_of(hub, "last_heartbeat"), now_ns);
  if (const std::string error = text_of(hub, "error"); !error.empty())
    line += "; last error: " + error;
  return line;
}

std::string recorded_line(const Json& status) {
  const auto oldest = parse_rfc3339(text_of(status, "oldest")),
             newest = parse_rfc3339(text_of(status, "newest"));
  if (!oldest || !newest) return "nothing yet";
  return fmt::format("{} to {} ({})", format_time(*oldest), format_time(*newest),
                     format_duration(*newest - *oldest));
}

}  // namespace

std::string node_status_page(const Json& status) {
  const int64_t now_ns = Clock::system().realtime_ns();
  std::string page =
      fact_line("Node", fmt::format("{} (lookback {}), since {}", text_of(status, "node"),
                               text_of(status, "version"), time_of(status, "started")), kStatusNames);
  page += fact_line("Hub", hub_line(member_of(status, "hub"), now_ns), kStatusNames);
  page += fact_line("Recorded", recorded_line(status), kStatusNames);
  page += fact_line("Packets", fmt::format("{} in {}", grouped(count(status, "packets")),
                                      counted(count(status, "segments"), "segment")), kStatusNames);
  const Json& rate = member_of(status, "rate");
  page +=
      fact_line("Rate",
           fmt::format(
               "{} packets/s, {}/s",
               grouped(static_cast<uint64_t>(std::max(0.0, real(rate, "packets_per_second")))),
               format_size(static_cast<uint64_t>(std::max(0.0, real(rate, "bytes_per_second"))))), kStatusNames);
  page +=
      fact_line("Storage", fmt::format("{} of {}, {} frozen", format_size(count(status, "used_bytes")),
                                  format_size(count(status, "quota_bytes")),
                                  format_size(count(status, "frozen_bytes"))), kStatusNames);
  if (const std::string text = text_of(status, "retention_text"); !text.empty()) {
    page += fact_line("Reaches back", fmt::format("at this rate: {}", text), kStatusNames);
  }
  const Json& drops = member_of(status, "drops");
  page += fact_line(
      "Dropped",
      fmt::format("{} packets by the kernel, {} ring stalls, {} packets while the disk was full",
                  grouped(count(drops, "packets")), grouped(count(drops, "stalls")),
                  grouped(count(drops, "disk_full_packets"))), kStatusNames);
  if (count(status, "damaged_segments") != 0) {
    page += fact_line("Damaged", counted(count(status, "damaged_segments"), "segment"), kStatusNames);
  }
  const Json& clock = member_of(status, "clock");
  page += fact_line("Clock", clock.is_object() && !text_of(clock, "measured").empty()
                            ? fmt::format("{} against the hub, measured {}",
                                          clock_text(number_of(clock, "offset_ns"),
                                                     number_of(clock, "error_ns")),
                                          ago(text_of(clock, "measured"), now_ns))
                            : "not measured yet", kStatusNames);
  std::string interfaces;
  for (const Json& one : list_of(status, "interfaces")) {
    interfaces += (interfaces.empty() ? "" : ", ") + text_of(one, "name");
  }
  if (const Json& events = member_of(member_of(status, "layers"), "os_events");
      events.is_object()) {
    std::string line = text_of(events, "state");
    if (const std::string reason = text_of(events, "reason"); !reason.empty())
      line += ": " + reason;
    if (text_of(events, "state") != "off")
      line += fmt::format("; {} events, {} lost, {} of {}", grouped(count(events, "events")),
                          grouped(count(events, "lost")),
                          format_size(count(events, "used_bytes")),
                          format_size(count(events, "quota_bytes")));
    if (const uint64_t borrowed = count(events, "borrowed_bytes"); borrowed != 0)
      line += fmt::format(" and {} borrowed from the packets", format_size(borrowed));
    page += fact_line("OS events", line, kStatusNames);
  }
  page += fact_line("Interfaces", interfaces.empty() ? "none" : interfaces, kStatusNames);
  if (const std::string filter = text_of(status, "filter"); !filter.empty())
    page += fact_line("Filter", filter, kStatusNames);
  if (const int64_t snaplen = number_of(status, "snaplen"); snaplen != 0) {
    page += fact_line("Snaplen", fmt::format("{} bytes", snaplen), kStatusNames);
  }
  std::string excluded;
  for (const Json& one : list_of(status, "excluded"))
    if (one.is_string()) excluded += (excluded.empty() ? "" : ", ") + printable(one.get<std::string>());
  if (!excluded.empty()) page += fact_line("Left out", excluded, kStatusNames);
  const Json& gaps = list_of(status, "gaps");
  if (gaps.empty()) return page;
  page += gaps.size() > kGapsShown
              ? fmt::format("\nThe last {} of {} gaps:\n", kGapsShown, gaps.size())
              : "\nGaps:\n";
  for (size_t i = gaps.size() - std::min(gaps.size(), kGapsShown); i < gaps.size(); ++i) {
    const uint64_t packets = count(gaps[i], "packets");
    page += fmt::format("  {} to {}: {}, {}\n", exact_time_of(gaps[i], "start"),
                        exact_time_of(gaps[i], "end"), printable(text_of(gaps[i], "reason")),
                        packets != 0 ? counted(packets, "packet") + " lost"
                                     : std::string("not known how many packets"));
  }
  return page;
}

}  // namespace lookback::cli
