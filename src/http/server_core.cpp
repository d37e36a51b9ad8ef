#include "server_core.hpp"

#include <openssl/crypto.h>

#include <algorithm>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "session.hpp"

namespace lookback::http {

namespace {
// One job a connection, plus room for what ends while the limit is passed on.
constexpr size_t kSpareJobs = 64;
}  // namespace

ServerCore::ServerCore(ServerOptions options_)
    : options(std::move(options_)),
      streams(options.max_streams),
      jobs_(options.max_connections + kSpareJobs) {
  if (!options.token.empty()) token_hash_ = sha256_hex(as_bytes(options.token));
}

ServerCore::~ServerCore() = default;

RouteMatch ServerCore::match(const std::string& method, const Target& target) const {
  RouteMatch result;
  std::vector<std::string> allowed;
  const std::string wanted = method == "HEAD" ? "GET" : method;
  for (const RouteEntry& entry : routes) {
    auto parameters = entry.route.match(target);
    if (!parameters) continue;
    allowed.push_back(entry.method);
    if (entry.method == "GET") allowed.emplace_back("HEAD");
    if (entry.method == wanted && result.entry == nullptr) {
      result.entry = &entry;
      result.parameters = std::move(*parameters);
    }
  }
  if (allowed.empty()) return result;
  allowed.emplace_back("OPTIONS");
  for (const std::string& name : allowed) result.allow += (result.allow.empty() ? "" : ", ") + name;
  return result;
}

bool ServerCore::authorized(const std::map<std::string, std::string>& headers,
                            const std::string& path) const {
  if (token_hash_.empty() || path == "/healthz" || path == "/readyz") return true;
  const auto it = headers.find("authorization");
  if (it == headers.end()) return false;
  constexpr std::string_view kScheme = "bearer ";
  std::string_view value = it->second;
  if (value.size() < kScheme.size() ||
      !std::equal(kScheme.begin(), kScheme.end(), value.begin(),
                  [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); }))
    return false;
  value.remove_prefix(kScheme.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  const std::string hash = sha256_hex(as_bytes(value));
  return CRYPTO_memcmp(hash.data(), token_hash_.data(), token_hash_.size()) == 0;
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

void ServerCore::add_session(const std::shared_ptr<Session>& session) {
  const std::lock_guard lock(sessions_mutex_);
  sessions_.emplace(session.get(), session);
}

void ServerCore::remove_session(const Session* session) {
  {
    const std::lock_guard lock(sessions_mutex_);
    sessions_.erase(session);
  }
  if (on_session_gone && !stopping) on_session_gone();
}

std::vector<std::shared_ptr<Session>> ServerCore::sessions() const {
  const std::lock_guard lock(sessions_mutex_);
  std::vector<std::shared_ptr<Session>> alive;
  for (const auto& [key, weak] : sessions_) {
    if (auto session = weak.lock()) alive.push_back(std::move(session));
  }
  return alive;
}

size_t ServerCore::session_count() const {
  const std::lock_guard lock(sessions_mutex_);
  return sessions_.size();
}

}  // namespace lookback::http
