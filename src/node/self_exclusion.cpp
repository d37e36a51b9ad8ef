#include "node/self_exclusion.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "lookback/base/fd.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/time.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::node {
namespace {

constexpr size_t kMostIntervals = 256;
constexpr uint64_t kMostFileBytes = 1 << 20;

std::string numeric(const sockaddr* address, socklen_t size) {
  char text[NI_MAXHOST];
  if (getnameinfo(address, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) return {};
  std::string name = text;
  name.resize(std::min(name.size(), name.find('%')));
  return name;
}

bool is_anywhere(const std::string& address) {
  return address == "0.0.0.0" || address == "::" || address == "[::]" || address.empty();
}

Json to_json(const ExcludedInterval& one) {
  return {{"local", one.connection.local},
          {"local_port", one.connection.local_port},
          {"remote", one.connection.remote},
          {"remote_port", one.connection.remote_port},
          {"from", format_time_ns(one.from_ns)},
          {"to", one.to_ns ? Json(format_time_ns(*one.to_ns)) : Json(nullptr)}};
}

/// One that was in force when the last run ended, however it ended, was so until `now_ns` at most.
Result<ExcludedInterval> from_json(const Json& json, int64_t now_ns) {
  ExcludedInterval one;
  TRY_ASSIGN(one.connection.local, json_get<std::string>(json, "local"));
  TRY_ASSIGN(one.connection.local_port, json_get<uint16_t>(json, "local_port"));
  TRY_ASSIGN(one.connection.remote, json_get<std::string>(json, "remote"));
  TRY_ASSIGN(one.connection.remote_port, json_get<uint16_t>(json, "remote_port"));
  TRY_ASSIGN(const auto from, json_get<std::string>(json, "from"));
  TRY_ASSIGN(one.from_ns, parse_rfc3339(from));
  one.to_ns = now_ns;
  if (const auto to = json.find("to"); to != json.end() && to->is_string()) {
    TRY_ASSIGN(one.to_ns, parse_rfc3339(to->get<std::string>()));
  }
  return one;
}

std::string end_text(const std::string& address, uint16_t port) {
  const bool v6 = address.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", port == 0 ? "*" : std::to_string(port));
}

}  // namespace

std::vector<std::string> resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  std::vector<std::string> addresses;
  for (const auto* entry = list; entry != nullptr; entry = entry->ai_next)
    if (auto text = numeric(entry->ai_addr, entry->ai_addrlen); !text.empty())
      addresses.push_back(std::move(text));
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

std::string source_address(const std::string& remote) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  if (getaddrinfo(remote.c_str(), "9", &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  // Nothing is sent: connecting a datagram socket only asks the routes.
  const Fd fd(socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd || connect(fd.get(), list->ai_addr, list->ai_addrlen) != 0) return {};
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return {};
  return numeric(reinterpret_cast<const sockaddr*>(&own), size);
}

std::string to_string(const capture::ExcludedConnection& connection) {
  return fmt::format("tcp {} {}", end_text(connection.local, connection.local_port),
                     end_text(connection.remote, connection.remote_port));
}

SelfExclusion::SelfExclusion(std::string listen_address, uint16_t own_port, std::filesystem::path file,
                             const Clock& clock)
    : listen_address_(std::move(listen_address)), own_port_(own_port), file_(std::move(file)), clock_(clock) {
  load();
}

bool SelfExclusion::set_hub(const std::vector<std::string>& addresses, uint16_t port,
                            const std::vector<std::string>& own_addresses) {
  std::vector<capture::ExcludedConnection> connections;
  const auto add = [&](capture::ExcludedConnection connection) {
    const auto local = packet::IpAddress::parse(connection.local), remote = packet::IpAddress::parse(connection.remote);
    if (local && remote && local->is_v4() == remote->is_v4() &&
        std::find(connections.begin(), connections.end(), connection) == connections.end())
      connections.push_back(std::move(connection));
  };
  size_t used = 0;
  for (const std::string& hub : addresses) {
    const std::string source = source_address(hub);
    if (source.empty() || ++used > kMostHubAddresses) continue;
    add({source, 0, hub, port});
    std::vector<std::string> called{source};
    if (!is_anywhere(listen_address_))
      called = {listen_address_};
    else
      called.insert(called.end(), own_addresses.begin(), own_addresses.end());
    for (const std::string& own : called) add({own, own_port_, hub, 0});
  }
  const std::lock_guard lock(mutex_);
  hub_ = std::move(connections);
  return update();
}

bool SelfExclusion::is_hub(const std::string& address) const {
  return std::any_of(hub_.begin(), hub_.end(), [&](const auto& connection) {
    return connection.local_port == own_port_ && connection.remote == address;
  });
}

bool SelfExclusion::add_caller(const std::string& address, uint16_t port) {
  const std::string remote = address.substr(0, address.find('%'));
  if (!packet::IpAddress::parse(remote) || port == 0) return false;
  const std::string local = is_anywhere(listen_address_) ? source_address(address) : listen_address_;
  if (local.empty()) return false;
  const int64_t now = clock_.monotonic_ns();
  const std::lock_guard lock(mutex_);
  if (is_hub(remote)) return false;
  const capture::ExcludedConnection connection{local, own_port_, remote, port};
  const auto known = std::find_if(callers_.begin(), callers_.end(),
                                  [&](const Caller& caller) { return caller.connection == connection; });
  if (known != callers_.end()) {
    known->seen_monotonic_ns = now;
    return false;
  }
  if (callers_.size() >= kMostCallers)
    callers_.erase(std::min_element(callers_.begin(), callers_.end(), [](const Caller& a, const Caller& b) {
      return a.seen_monotonic_ns < b.seen_monotonic_ns;
    }));
  callers_.push_back({connection, now});
  return update();
}

bool SelfExclusion::expire() {
  const int64_t now = clock_.monotonic_ns();
  const std::lock_guard lock(mutex_);
  if (std::erase_if(callers_, [&](const Caller& caller) { return now - caller.seen_monotonic_ns > kCallerLife; }) == 0)
    return false;
  return update();
}

std::vector<capture::ExcludedConnection> SelfExclusion::connections() const {
  const std::lock_guard lock(mutex_);
  std::vector<capture::ExcludedConnection> all = hub_;
  for (const Caller& caller : callers_) all.push_back(caller.connection);
  return all;
}

bool SelfExclusion::update() {
  std::vector<capture::ExcludedConnection> wanted = hub_;
  for (const Caller& caller : callers_) wanted.push_back(caller.connection);
  const int64_t now = clock_.realtime_ns();
  bool changed = false;
  for (ExcludedInterval& one : intervals_) {
    if (one.to_ns) continue;
    const auto still = std::find(wanted.begin(), wanted.end(), one.connection);
    if (still != wanted.end()) {
      wanted.erase(still);
      continue;
    }
    one.to_ns = std::max(now, one.from_ns);
    changed = true;
  }
  for (auto& connection : wanted) {
    intervals_.push_back({std::move(connection), now, std::nullopt});
    changed = true;
  }
  if (!changed) return false;
  // The oldest that have ended are forgotten first.
  for (auto it = intervals_.begin(); intervals_.size() > kMostIntervals && it != intervals_.end();)
    it = it->to_ns ? intervals_.erase(it) : it + 1;
  unsaved_ = true;
  return true;
}

std::vector<ExcludedInterval> SelfExclusion::intervals(TimeWindow window) const {
  const std::lock_guard lock(mutex_);
  std::vector<ExcludedInterval> found;
  for (const ExcludedInterval& one : intervals_)
    if (one.from_ns < window.to_ns && (!one.to_ns || *one.to_ns >= window.from_ns)) found.push_back(one);
  return found;
}

void SelfExclusion::load() {
  const auto text = read_file(file_, kMostFileBytes);
  if (!text) return;  // nothing was left out yet
  const auto list = parse_json(*text, file_.string());
  if (!list || !list->is_array()) {
    log_warning("{} cannot be read: what earlier runs left out is not told", file_.string());
    return;
  }
  const int64_t now = clock_.realtime_ns();
  for (const Json& json : *list)
    if (auto one = from_json(json, now); one && intervals_.size() < kMostIntervals) intervals_.push_back(std::move(*one));
}

void SelfExclusion::save_if_changed() {
  Json list = Json::array();
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(unsaved_, false)) return;
    for (const ExcludedInterval& one : intervals_) list.push_back(to_json(one));
  }
  if (const auto written = write_file_atomically(file_, dump_json(list), 0600); !written)
    log_warning("{}", written.error().message);
}

}  // namespace lookback::node
