#include "server_core.hpp"

#include <algorithm>
#include <boost/asio/ip/address_v6.hpp>
#include <chrono>
#include <tuple>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "session.hpp"

namespace lookback::http {

namespace {
// One job a connection, plus room for what ends while the limit is passed on.
constexpr size_t kSpareJobs = 64;
/// A connection that was idle for less than this may be about to say something.
constexpr std::chrono::milliseconds kLeastIdle{500};

/// A host has a whole /64 of IPv6 addresses to itself.
std::string share_of(const std::string& address) {
  boost::system::error_code ec;
  const auto v6 = boost::asio::ip::make_address_v6(address, ec);
  if (ec) return address;
  const auto bytes = v6.to_bytes();
  return {bytes.begin(), bytes.begin() + 8};
}
}  // namespace

ServerCore::ServerCore(ServerOptions options_,
                       std::function<bool(const std::string&)> in_certificate)
    : options(std::move(options_)),
      guard(options.allowed_hosts, options.tls.has_value(), std::move(in_certificate)),
      jobs_(options.max_connections + kSpareJobs),
      transfers_(options.max_streams),
      orders_(options.max_orders) {}

ServerCore::~ServerCore() = default;

std::string_view RouteMatch::node() const {
  if (role() != Role::node) return {};
  const auto name = parameters.find("name");
  return name == parameters.end() ? std::string_view() : std::string_view(name->second);
}

RouteMatch ServerCore::match(const std::string& method, const Target& target) const {
  RouteMatch result;
  const std::string_view wanted = method == "HEAD" ? "GET" : std::string_view(method);
  const auto allow = [&](std::string_view name) {
    if (!result.allow.empty()) result.allow += ", ";
    result.allow += name;
  };
  for (const bool takes_rest : {false, true}) {
    for (const RouteEntry& entry : routes) {
      if (entry.pattern.takes_rest() != takes_rest) continue;
      auto parameters = entry.pattern.match(target);
      if (!parameters) continue;
      allow(entry.info.method);
      if (entry.info.method == "GET") allow("HEAD");
      if (entry.info.method == wanted && result.entry == nullptr) {
        result.entry = &entry;
        result.parameters = std::move(*parameters);
      }
    }
    if (!result.allow.empty()) break;
  }
  if (!result.allow.empty()) allow("OPTIONS");
  return result;
}

std::optional<Principal> ServerCore::principal(const std::map<std::string, std::string>& headers, const RouteMatch& match) const {
  const Principal admin{std::string(to_string(Role::admin)), Role::admin};
  if (options.token.empty()) return admin;
  if (match.role() == Role::anyone) return Principal{std::string(to_string(Role::anyone)), Role::anyone};
  const auto it = headers.find("authorization");
  if (it == headers.end()) return std::nullopt;
  constexpr std::string_view kScheme = "bearer ";
  std::string_view value = it->second;
  if (value.size() < kScheme.size() ||
      !std::equal(kScheme.begin(), kScheme.end(), value.begin(),
                  [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); }))
    return std::nullopt;
  value.remove_prefix(kScheme.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  if (same_token(value, options.token)) return admin;
  return options.further_tokens ? options.further_tokens(value, match.node()) : std::nullopt;
}

void ServerCore::start_workers() {
  for (unsigned i = 0; i < std::max(1U, options.workers); ++i) {
    workers_.emplace_back([this] {
      while (auto job = jobs_.pop()) {
        if (!stopping) (*job)();
      }
    });
  }
}

void ServerCore::stop_workers() {
  jobs_.close();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

uint64_t ServerCore::body_limit(const RouteEntry& entry) const {
  return entry.info.body.max_body_bytes.value_or(entry.info.runs_on == RunsOn::transfer ? UINT64_MAX : options.max_body_bytes);
}

size_t ServerCore::streams_running() const {
  return transfers_.running() + orders_.running() + feeds;
}

void ServerCore::stop_streams() {
  transfers_.stop();
  orders_.stop();
}

bool ServerCore::add_session(const std::shared_ptr<Session>& session, const std::string& address) {
  const std::string share = share_of(address);
  Held held;
  const std::lock_guard lock(sessions_mutex_);
  const auto taken = shares_.find(share);
  if (taken != shares_.end() && taken->second >= options.max_connections_per_address) {
    if (!make_room(share, held)) return false;
  } else if (session_count_ >= options.max_connections) {
    (void)make_room("", held);  // whoever was idle a moment ago may work by now: one too many then
  }
  sessions_.emplace(session.get(), Place{session, share});
  ++shares_[share];
  ++session_count_;
  return true;
}

bool ServerCore::has_room() const {
  Held held;
  const std::lock_guard lock(sessions_mutex_);
  return session_count_ < options.max_connections || find_victim("", held).has_value();
}

std::optional<ServerCore::Victim> ServerCore::find_victim(const std::string& share, Held& held) const {
  const int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                             std::chrono::steady_clock::now().time_since_epoch())
                             .count();
  std::optional<Victim> victim;
  std::tuple<bool, size_t, int64_t> best;
  bool stranger_waits = false;
  for (const auto& [key, place] : sessions_) {
    if (place.evicted || (!share.empty() && place.share != share)) continue;
    auto session = place.session.lock();
    if (!session) continue;
    held.push_back(session);
    const int64_t since_ms = session->waiting_since_ms();
    if (since_ms == 0) continue;
    if (now_ms - since_ms < kLeastIdle.count()) {
      stranger_waits = stranger_waits || !session->is_known();
      continue;
    }
    // Strangers first, of them those of the address that has most, of these the longest idle.
    const std::tuple rank(!session->is_known(), shares_.at(place.share), now_ms - since_ms);
    if (victim && rank <= best) continue;
    victim = Victim{key, std::move(session)};
    best = rank;
  }
  // A stranger that will have been idle for long enough in a moment goes before anybody who showed a token.
  if (stranger_waits && victim && victim->session->is_known()) return std::nullopt;
  return victim;
}

bool ServerCore::make_room(const std::string& share, Held& held) {
  const auto victim = find_victim(share, held);
  if (!victim) return false;
  Place& place = sessions_.at(victim->key);
  place.evicted = true;
  leave(place);
  ++evicted;
  victim->session->interrupt();
  return true;
}

void ServerCore::leave(const Place& place) {
  const auto share = shares_.find(place.share);
  if (--share->second == 0) shares_.erase(share);
  --session_count_;
}

void ServerCore::remove_session(const Session* session) {
  {
    const std::lock_guard lock(sessions_mutex_);
    const auto it = sessions_.find(session);
    if (it == sessions_.end()) return;  // never got in
    if (!it->second.evicted) leave(it->second);
    sessions_.erase(it);
  }
  if (on_session_gone && !stopping) on_session_gone();
}

std::vector<std::shared_ptr<Session>> ServerCore::sessions() const {
  const std::lock_guard lock(sessions_mutex_);
  std::vector<std::shared_ptr<Session>> alive;
  for (const auto& [key, place] : sessions_) {
    if (auto session = place.session.lock()) alive.push_back(std::move(session));
  }
  return alive;
}

size_t ServerCore::session_count() const {
  const std::lock_guard lock(sessions_mutex_);
  return session_count_;
}

}  // namespace lookback::http
