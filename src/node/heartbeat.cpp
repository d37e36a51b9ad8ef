#include "node/heartbeat.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "lookback/base/hash.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/time.hpp"
#include "lookback/base/version.hpp"

namespace lookback::node {
namespace {

constexpr int64_t kMinIntervalNs = 50 * kNsPerMs, kMaxIntervalNs = 60'000 * kNsPerMs,
                  kDefaultIntervalNs = 5'000 * kNsPerMs, kFirstIntervalNs = 250 * kNsPerMs;
constexpr int kFirstExchanges = 4;
constexpr int64_t kFirstRetryNs = 500 * kNsPerMs, kLastRetryNs = 5'000 * kNsPerMs;
constexpr int64_t kResolveEveryNs = 60'000 * kNsPerMs;
// A measurement is written down when it says something new, and now and then.
constexpr int64_t kPublishEveryNs = 60'000 * kNsPerMs;

/// The freezes that the hub needs. Nothing where it does not say, or not in a way that can be understood: then nothing may be
/// released.
std::optional<std::vector<std::string>> live_freezes_of(const Json& reply) {
  const auto found = reply.find("live_freezes");
  if (found == reply.end() || !found->is_array()) return std::nullopt;
  std::vector<std::string> ids;
  for (const auto& id : *found) {
    if (!id.is_string()) return std::nullopt;
    ids.push_back(id.get<std::string>());
  }
  return ids;
}

}  // namespace

Heartbeat::Heartbeat(Parts parts, http::Url hub, http::Client client)
    : parts_(std::move(parts)),
      hub_(std::move(hub)),
      incarnation_(random_hex(8)),
      client_(std::move(client)),
      watch_(*parts_.clock) {}

Result<std::unique_ptr<Heartbeat>> Heartbeat::start(Parts parts) {
  TRY_ASSIGN(http::Url hub, http::parse_url(parts.hub_url, "hub"));
  http::ClientOptions options;
  options.base_url = parts.hub_url;
  options.token = parts.token;
  options.ca_file = parts.ca_file;
  options.connect_timeout_ms = 3'000;
  options.total_timeout_ms = 10'000;
  TRY_ASSIGN(auto client, http::Client::create(std::move(options)));
  std::unique_ptr<Heartbeat> heartbeat(
      new Heartbeat(std::move(parts), std::move(hub), std::move(client)));
  heartbeat->thread_ = std::thread([h = heartbeat.get()] { h->run(); });
  return heartbeat;
}

void Heartbeat::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

HeartbeatStatus Heartbeat::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void Heartbeat::run() {
  prctl(PR_SET_NAME, "heartbeat");
  int64_t retry = kFirstRetryNs;
  for (;;) {
    resolve_hub();
    const auto beaten = beat();
    int64_t pause = 0;
    {
      std::unique_lock lock(mutex_);
      if (beaten) {
        if (!status_.registered) log_info("registered with the hub at {}", parts_.hub_url);
        status_.registered = true;
        status_.error.clear();
        status_.last_ns = parts_.clock->realtime_ns();
        retry = kFirstRetryNs;
        pause = *beaten;
      } else {
        if (status_.error != beaten.error().message)
          log_warning("no heartbeat, recording goes on: {}", beaten.error().message);
        status_.registered = false;
        status_.error = beaten.error().message;
        pause = retry;
        retry = std::min(retry * 2, kLastRetryNs);
      }
      // Spread by a quarter, so that a restarted hub does not hear from everybody in one moment.
      pause -= static_cast<int64_t>(random_u64() % static_cast<uint64_t>(pause / 4 + 1));
      if (wake_.wait_for(lock, std::chrono::nanoseconds(pause), [&] { return stopping_; })) return;
    }
  }
}

void Heartbeat::resolve_hub() {
  const int64_t now = parts_.clock->monotonic_ns();
  if (!addresses_.empty() && now - resolved_monotonic_ns_ < kResolveEveryNs) return;
  resolved_monotonic_ns_ = now;
  if (auto found = resolve(hub_.host); !found.empty()) addresses_ = std::move(found);
  parts_.on_hub(addresses_);
}

Result<int64_t> Heartbeat::beat() {
  if (const auto step = watch_.look()) estimator_.shift(*step);

  TRY_ASSIGN(Json status, parse_json(parts_.status(), "the node's status"));
  Json message{{"version", version()},       {"url", parts_.advertise_url},
               {"port", parts_.port},        {"tls", parts_.tls},
               {"incarnation", incarnation_}, {"status", std::move(status)},
               {"clock", nullptr}};
  if (const auto clock = estimator_.best(parts_.clock->monotonic_ns()))
    message["clock"] = {{"offset_ns", clock->offset_ns},
                        {"error_ns", clock->error_ns},
                        {"measured", format_time_ns(clock->measured_ns)}};

  // Before the hub is asked: what is ordered meanwhile is not judged by its answer.
  const auto held = parts_.held_freezes();
  ClockExchange exchange;
  exchange.sent_ns = parts_.clock->realtime_ns();
  message["sent_ns"] = exchange.sent_ns;
  TRY_ASSIGN(const std::string body,
             client_.send("POST", "/api/v1/nodes/" + http::url_encode(parts_.node_name) + "/heartbeat",
                          dump_json(message)));
  exchange.arrived_ns = parts_.clock->realtime_ns();
  exchange.monotonic_ns = parts_.clock->monotonic_ns();

  TRY_ASSIGN(const Json reply, parse_json(body, "the hub's answer"));
  TRY_ASSIGN(exchange.received_ns, json_get<int64_t>(reply, "received_ns"));
  TRY_ASSIGN(exchange.replied_ns, json_get<int64_t>(reply, "replied_ns"));
  TRY_ASSIGN(const auto interval, json_get_or<int64_t>(reply, "interval_ns", kDefaultIntervalNs));
  if (const auto step = watch_.look())
    estimator_.shift(*step);  // an exchange across a step says nothing
  else if (estimator_.add(exchange))
    publish_clock();

  TRY_ASSIGN(const auto hub_id, json_get_or<std::string>(reply, "hub_id", ""));
  if (const auto live = live_freezes_of(reply)) parts_.on_live_freezes(held, hub_id, *live);

  const int64_t pause = std::clamp(interval, kMinIntervalNs, kMaxIntervalNs);
  // One exchange may have met a busy moment of either side; of several the best one counts.
  return ++exchanges_ < kFirstExchanges ? std::min(pause, kFirstIntervalNs) : pause;
}

void Heartbeat::publish_clock() {
  const int64_t now = parts_.clock->monotonic_ns();
  const auto best = estimator_.best(now);
  if (!best) return;
  {
    const std::lock_guard lock(mutex_);
    status_.clock = best;
  }
  const bool news = !published_ || now - published_monotonic_ns_ >= kPublishEveryNs ||
                    std::abs(best->offset_ns - published_->offset_ns) > published_->error_ns ||
                    best->error_ns < published_->error_ns / 2;
  if (!news) return;
  published_ = best;
  published_monotonic_ns_ = now;
  parts_.on_clock(*best);
}

}  // namespace lookback::node
