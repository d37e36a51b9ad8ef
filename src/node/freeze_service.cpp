#include "node/freeze_service.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "lookback/archive/clock_map.hpp"
#include "lookback/archive/frame.hpp"
#include "lookback/archive/member_kind.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/time.hpp"
#include "lookback/base/version.hpp"
#include "lookback/exporter/member_builder.hpp"
#include "lookback/packet/pcapng.hpp"
#include "node/event_member.hpp"

namespace lookback::node {
namespace {

/// Between the moment that a packet is stamped and the one that it reaches the ring (a backlog queue lies in between).
constexpr int64_t kStampDelayNs = 5 * kNsPerMs;
/// How far ahead a window may end whatever is known of the clock: by that much the error may have been larger when it was
/// told to whoever asks.
constexpr int64_t kAheadNs = 250 * kNsPerMs;
constexpr int64_t kMaxWaitNs = 2000 * kNsPerMs;
constexpr size_t kMaxNetworks = 1024;
constexpr size_t kMostHubId = 64;

// An enhanced packet block around a packet: block header, flags option, end of options, padding.
constexpr uint64_t kPacketOverhead = 32 + 12 + 3;
constexpr uint64_t kSectionOverhead = 4096;

// What an estimate looks at: this much of each of a few runs.
constexpr size_t kSampledRuns = 3;
constexpr uint64_t kSampleBytes = 512 << 10;

/// What making a member takes beside its content: what is read ahead, a frame, the compressor.
constexpr uint64_t kMemberOverhead = 3 << 20;
/// Of a segment of events: its places, and the sockets and processes that live.
constexpr uint64_t kEventGrowth = 4;
constexpr size_t kKeptBuilders = 2;

bool is_of_events(size_t index) {
  return index <= archive::kMaxMemberIndex && archive::kind_of_index(static_cast<uint32_t>(index)) == archive::MemberKind::os_events;
}

archive::ClockMap clock_map(const std::vector<ClockSample>& known) {
  std::vector<ClockSample> samples;
  samples.reserve(known.size());
  for (const auto& one : known) samples.push_back({one.time_ns, one.offset_ns, one.error_ns, one.step_ns});
  return archive::ClockMap(samples);
}

/// A window of hub time, seen from now.
struct Outlook {
  int64_t ahead_ns;   ///< how far in the future it ends
  int64_t error_ns;   ///< of the clock
  TimeWindow window;  ///< in node time, were the clock always as it is now
};

Outlook look_at(const TimeWindow& hub, const std::vector<ClockSample>& history, int64_t now_ns) {
  const archive::ClockMap clock = clock_map(history);
  const auto& present = clock.piece_at(now_ns);
  return {archive::saturating_sub(hub.to_ns, clock.to_hub(now_ns)),
          present.error_ns,
          {archive::saturating_add(hub.from_ns, present.offset_ns),
           archive::saturating_add(hub.to_ns, present.offset_ns)}};
}

bool contains(const std::vector<TimeWindow>& windows, int64_t time_ns) {
  return std::any_of(windows.begin(), windows.end(),
                     [&](const TimeWindow& window) { return window.contains(time_ns); });
}

std::string hub_of(const std::string& extra) {
  const auto parsed = parse_json(extra, "the freeze's owner");
  if (!parsed || !parsed->is_object()) return {};
  return json_get_or<std::string>(*parsed, "hub", "").value_or("");
}

Result<> check_life(int64_t time_to_live_ns) {
  if (time_to_live_ns <= 0) return fail(ErrorKind::invalid, "the time to live must be positive");
  if (time_to_live_ns > store::kMostFreezeLife)
    return fail(ErrorKind::invalid, "a freeze lives for {} at most, and can be renewed",
                format_duration_compact(store::kMostFreezeLife));
  return {};
}

Result<packet::NetworkFilter> filter_of(const store::Freeze& freeze) {
  if (freeze.extra.empty()) return packet::NetworkFilter{};
  TRY_ASSIGN(const Json extra, parse_json(freeze.extra, "the freeze's address filter"));
  std::vector<std::string> networks;
  if (const auto found = extra.find("networks"); found != extra.end() && found->is_array())
    for (const auto& network : *found)
      if (network.is_string()) networks.push_back(network.get<std::string>());
  return packet::NetworkFilter::parse(networks);
}

std::string application() { return "lookback " + std::string(version()); }

/// The packets of a run that are in one of the windows and match. `take` gets a view whose interface indexes the reader's table; it
/// returns false to end early.
template <class Take>
Result<> each_packet(store::RunReader& reader, const std::vector<TimeWindow>& windows,
                     const packet::NetworkFilter& filter, const Take& take) {
  for (;;) {
    TRY_ASSIGN(const auto packet, reader.next());
    if (!packet) return {};
    if (!contains(windows, packet->time_ns)) continue;
    const auto& interfaces = reader.interfaces();
    if (packet->interface >= interfaces.size()) continue;  // a damaged table names it; counted by the reader
    if (!filter.ask(interfaces[packet->interface].link_type, packet->data).keep) continue;
    if (!take(*packet)) return {};
  }
}

std::string reason_of(const std::vector<Gap>& gaps, size_t given_up) {
  std::string text;
  if (given_up != 0) text = fmt::format("{} runs were given up for newer freezes", given_up);
  std::vector<std::string> reasons;
  uint64_t packets = 0;
  for (const auto& gap : gaps) {
    packets += gap.packets;
    if (std::find(reasons.begin(), reasons.end(), gap.reason) == reasons.end())
      reasons.push_back(gap.reason);
  }
  for (const auto& reason : reasons) text += (text.empty() ? "" : "; ") + reason;
  if (packets != 0) text += fmt::format(" ({} packets lost)", packets);
  return text;
}

}  // namespace

uint64_t content_bound(const store::FrozenRun& run) {
  return run.bytes + run.packets * kPacketOverhead + kSectionOverhead;
}

Result<FreezeService::Created> FreezeService::create(const FreezeOrder& order) {
  if (auto name = check_snapshot_name(order.id); !name)
    return tl::make_unexpected(name.error().in("freeze id"));
  if (auto existing = parts_.store->find_freeze(order.id))
    return Created{describe(std::move(*existing)), true};
  if (order.window.empty()) return fail(ErrorKind::invalid, "the window is empty");
  TRY(check_life(order.time_to_live_ns));
  if (order.hub.size() > kMostHubId)
    return fail(ErrorKind::invalid, "the hub's id is longer than {} characters", kMostHubId);
  if (order.networks.size() > kMaxNetworks)
    return fail(ErrorKind::invalid, "more than {} networks", kMaxNetworks);
  TRY(packet::NetworkFilter::parse(order.networks));

  const auto looked_at = [&] {
    return look_at(order.window, parts_.store->clock_history(), parts_.clock->realtime_ns());
  };
  const Outlook first_look = looked_at();
  const int64_t ahead = first_look.ahead_ns;
  // Whoever asks takes our clock to be right to within the error, and has widened the window by the error as well.
  if (ahead > 2 * std::max(parts_.clock_error_ns(), first_look.error_ns) + kAheadNs)
    return fail(ErrorKind::invalid, "the window ends {} in the future", format_duration(ahead));
  TRY_ASSIGN(const FreezeAdmission::Entry entry, admission_.enter({order.id, order.hub, order.owner}, held()));
  // What the error adds to the window's end is recorded by then as well.
  const int64_t wait =
      std::min(ahead + std::min(first_look.error_ns, kAheadNs) + parts_.ring_delay_ns + kStampDelayNs, kMaxWaitNs);
  if (wait > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(wait));
  TRY(parts_.seal());
  store::FreezeRequest request;
  request.id = order.id;
  request.owner = order.owner;
  request.window = looked_at().window;
  request.translate = [&](const std::vector<ClockSample>& known) {
    return clock_map(known).to_node_widened(order.window);
  };
  request.time_to_live_ns = order.time_to_live_ns;
  request.extra = dump_json({{"networks", order.networks}, {"hub", order.hub}});
  // Packets are worth having without the events. These come first: the same order a second time finds all of it.
  if (parts_.observer != nullptr)
    if (auto frozen = parts_.observer->freeze(order.id, parts_.store->window_of(request)); !frozen)
      log_warning("freeze {} has no events: {}", order.id, frozen.error().message);
  auto freeze = parts_.store->freeze(request);
  const bool released = entry.released();
  if (!freeze || released) {
    if (auto gone = release(order.id); !gone) log_warning("freeze {}: {}", order.id, gone.error().message);
    if (released) return fail(ErrorKind::conflict, "freeze {} was released while it was made", order.id);
    return tl::make_unexpected(freeze.error());
  }
  return Created{describe(std::move(*freeze)), false};
}

Result<FrozenWindow> FreezeService::find(const std::string& id) {
  TRY_ASSIGN(auto freeze, parts_.store->find_freeze(id));
  return describe(std::move(freeze));
}

std::vector<FrozenWindow> FreezeService::list() {
  std::vector<FrozenWindow> windows;
  for (auto& freeze : parts_.store->freezes()) windows.push_back(describe(std::move(freeze)));
  return windows;
}

Result<> FreezeService::renew(const std::string& id, int64_t time_to_live_ns) {
  TRY(check_life(time_to_live_ns));
  return parts_.store->renew_freeze(id, time_to_live_ns);
}

std::vector<HeldFreeze> FreezeService::held() {
  std::vector<HeldFreeze> list;
  const auto labels = parts_.store->freeze_labels();
  list.reserve(labels.size());
  std::map<std::string, std::string> hubs;
  const std::lock_guard lock(mutex_);
  for (const auto& label : labels) {
    const auto known = hubs_.find(label.id);
    const std::string hub = known != hubs_.end() ? known->second : hub_of(label.extra);
    hubs.emplace(label.id, hub);
    list.push_back({label.id, hub, label.owner});
  }
  hubs_ = std::move(hubs);
  return list;
}

void FreezeService::settle(const std::vector<HeldFreeze>& held, const std::string& hub_id,
                           const std::vector<std::string>& live) {
  if (hub_id.empty()) return;
  admission_.set_own_hub(hub_id);
  for (const auto& freeze : held) {
    if (freeze.hub != hub_id || std::find(live.begin(), live.end(), freeze.id) != live.end()) continue;
    const auto released = release(freeze.id);
    if (released)
      log_info("freeze {} ({}) is released: the hub makes no snapshot of it any more", freeze.id, freeze.owner);
    else
      log_warning("freeze {} cannot be released: {}", freeze.id, released.error().message);
  }
}

Result<> FreezeService::release(const std::string& id) {
  admission_.release(id);
  forget(id);
  if (parts_.observer != nullptr) TRY(parts_.observer->store().release(id));
  return parts_.store->release_freeze(id);
}

void FreezeService::forget(const std::string& id) {
  const std::lock_guard lock(mutex_);
  estimates_.erase(id);
  hubs_.erase(id);
}

FrozenWindow FreezeService::describe(store::Freeze freeze) {
  FrozenWindow window;
  if (parts_.observer != nullptr) {
    window.events = parts_.observer->store().frozen(freeze.id);
    auto status = parts_.observer->status();
    window.events_state = std::move(status.state);
    window.events_reason = std::move(status.reason);
    if (const uint64_t lost = parts_.observer->lost_in(freeze.window); lost != 0) {
      window.events_state = "degraded";
      if (!window.events_reason.empty()) window.events_reason += "; ";
      window.events_reason +=
          fmt::format("{} events of the window were lost: the ring buffer was full", lost);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = estimates_.find(freeze.id); found != estimates_.end())
      window.estimate = found->second;
  }
  if (window.estimate.content_bytes == 0 && !freeze.runs.empty()) {
    if (const auto filter = filter_of(freeze)) window.estimate = estimate(freeze, *filter);
    const std::lock_guard lock(mutex_);
    // Freezes that ended by themselves left theirs behind.
    if (estimates_.size() > 256) estimates_.clear();
    estimates_[freeze.id] = window.estimate;
  }
  const auto given_up = static_cast<size_t>(std::count_if(
      freeze.runs.begin(), freeze.runs.end(), [](const auto& run) { return run.given_up; }));
  window.complete = given_up == 0 && freeze.gaps.empty();
  if (!window.complete) window.reason = reason_of(freeze.gaps, given_up);
  window.hub = hub_of(freeze.extra);
  window.freeze = std::move(freeze);
  return window;
}

FreezeEstimate FreezeService::estimate(const store::Freeze& freeze, const packet::NetworkFilter& filter) {
  const std::lock_guard one_at_a_time(estimate_mutex_);
  FreezeEstimate estimate;
  for (const auto& run : freeze.runs)
    if (!run.given_up) estimate.content_bytes += content_bound(run);

  // Sampled are the first, the last and one in the middle.
  std::set<size_t> sampled;
  for (size_t i = 0; i < kSampledRuns && !freeze.runs.empty(); ++i)
    sampled.insert(i * (freeze.runs.size() - 1) / (kSampledRuns - 1));
  uint64_t seen_bytes = 0, compressed_bytes = 0;
  archive::FrameEncoder encoder;
  packet::Buffer content;
  std::vector<std::byte> compressed;
  for (const size_t run : sampled) {
    if (freeze.runs[run].given_up) continue;
    auto reader = parts_.store->read_run(freeze.id, run);
    if (!reader) continue;  // a damaged one says nothing about the others; member() tells of it
    content.clear();
    uint64_t seen = 0;
    const auto read = each_packet(**reader, freeze.parts[freeze.runs[run].part], packet::NetworkFilter{}, [&](const auto& view) {
      seen += view.data.size() + kPacketOverhead;
      if (filter.ask((*reader)->interfaces()[view.interface].link_type, view.data).keep)
        packet::append_packet(content, view);
      return seen < kSampleBytes;
    });
    if (!read) log_warning("freeze {}: {}", freeze.id, read.error().message);
    for (const auto& interface : (*reader)->interfaces())
      if (std::find(estimate.interfaces.begin(), estimate.interfaces.end(), interface) ==
          estimate.interfaces.end())
        estimate.interfaces.push_back(interface);
    seen_bytes += seen;
    compressed.clear();
    if (!content.empty()) compressed_bytes += encoder.encode(content, compressed);
  }
  if (seen_bytes != 0)
    estimate.compressed_bytes =
        static_cast<uint64_t>(static_cast<double>(estimate.content_bytes) *
                              static_cast<double>(compressed_bytes) / static_cast<double>(seen_bytes));
  return estimate;
}

void FreezeService::note_damage(const std::string& id, const std::vector<Gap>& damage) {
  // Should the record not be written, the freeze knows of it all the same until the daemon ends.
  if (const auto noted = parts_.store->note_damage(id, damage); !noted)
    log_warning("freeze {}: {}", id, noted.error().message);
}

Result<uint64_t> FreezeService::member_memory(const std::string& id, size_t index) {
  TRY_ASSIGN(const auto freeze, parts_.store->find_freeze(id));
  if (index < freeze.runs.size()) {
    // Packets shrink to a third or less as a rule.
    const uint64_t content = content_bound(freeze.runs[index]);
    return kMemberOverhead + content + content / 3;
  }
  if (parts_.observer != nullptr && is_of_events(index)) {
    for (const auto& segment : parts_.observer->store().frozen(id))
      if (event_member_index(segment) == index) return kMemberOverhead + segment.bytes * kEventGrowth;
    return kMemberOverhead;  // it was given up, or was never there
  }
  return fail(ErrorKind::not_found, "freeze {} has no member {}", id, index);
}

Result<std::optional<archive::MemberContent>> FreezeService::any_member(const std::string& id,
                                                                        size_t index) {
  if (!is_of_events(index) || parts_.observer == nullptr) return member(id, index);
  TRY_ASSIGN(const auto freeze, parts_.store->find_freeze(id));
  for (const auto& segment : parts_.observer->store().frozen(id)) {
    if (event_member_index(segment) != index) continue;
    TRY_ASSIGN(const auto bytes, parts_.observer->store().read(id, segment.sequence));
    TRY_ASSIGN(auto member, event_member(bytes, freeze.window));
    // It is told before the member is handed out: whoever has all members asks what they lack.
    if (!member.whole)
      note_damage(id, {{segment.first_ns, segment.last_ns + 1, 0, to_string(GapReason::os_events)}});
    return std::move(member.content);
  }
  return fail(ErrorKind::not_found, "freeze {} has no member {}", id, index);
}

Result<std::optional<archive::MemberContent>> FreezeService::member(const std::string& id,
                                                                    size_t run) {
  TRY_ASSIGN(const auto freeze, parts_.store->find_freeze(id));
  if (run >= freeze.runs.size())
    return fail(ErrorKind::not_found, "freeze {} has no member {}", id, run);
  TRY_ASSIGN(const auto filter, filter_of(freeze));

  const BorrowedBuilder builder(*this);
  builder->reserve(content_bound(freeze.runs[run]));
  TRY_ASSIGN(const auto reader, parts_.store->read_run(id, run));
  // A run may name further interfaces as it goes.
  size_t described = 0;
  TRY(each_packet(*reader, freeze.parts[freeze.runs[run].part], filter, [&](const packet::PacketView& view) {
    if (view.interface >= described) {
      builder->set_interfaces(reader->interfaces());
      described = reader->interfaces().size();
    }
    builder->add(view);
    return true;
  }));
  // It is told before the member is handed out: whoever has all members asks what they lack.
  if (!reader->damage().empty()) note_damage(id, reader->damage());
  if (builder->packets() == 0) return std::nullopt;
  return builder->finish();
}

FreezeService::BorrowedBuilder::BorrowedBuilder(FreezeService& service) : service_(service) {
  {
    const std::lock_guard lock(service_.mutex_);
    ++service_.builders_in_use_;
    if (!service_.builders_.empty()) {
      builder_ = std::move(service_.builders_.back());
      service_.builders_.pop_back();
    }
  }
  if (!builder_)
    builder_ = std::make_unique<exporter::MemberBuilder>(service_.parts_.node_name, std::vector<packet::Interface>(), application());
  builder_->clear();
}

FreezeService::BorrowedBuilder::~BorrowedBuilder() {
  const std::lock_guard lock(service_.mutex_);
  // Between snapshots nothing is kept.
  if (--service_.builders_in_use_ == 0)
    service_.builders_.clear();
  else if (service_.builders_.size() < kKeptBuilders)
    service_.builders_.push_back(std::move(builder_));
}

}  // namespace lookback::node
