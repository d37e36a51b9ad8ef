#pragma once
// What all connections of a server share: routes, limits, worker and stream threads, counters.

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lookback/base/queue.hpp"
#include "lookback/http/server.hpp"
#include "request_guard.hpp"
#include "stream_threads.hpp"
#include "target.hpp"

namespace lookback::http {

class Session;

struct RouteEntry {
  RouteInfo info;
  RoutePattern pattern;
  Handler handler;
};

struct RouteMatch {
  const RouteEntry* entry = nullptr;  ///< nullptr: no such path, or not with this method
  std::map<std::string, std::string> parameters;
  std::string allow;  ///< methods of the path, where there is one

  [[nodiscard]] Role role() const { return entry == nullptr ? Role::client : entry->info.role; }
  /// The node that a route for nodes is about.
  [[nodiscard]] std::string_view node() const;
};

/// Bytes of request bodies held in memory, given back on destruction.
class BodyLease {
 public:
  BodyLease() = default;
  explicit BodyLease(std::atomic<uint64_t>& pool) : pool_(&pool) {}
  BodyLease(BodyLease&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  BodyLease& operator=(BodyLease&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~BodyLease() {
    if (pool_ != nullptr) pool_->fetch_sub(bytes_);
  }
  /// False when that would pass what all bodies together may hold.
  [[nodiscard]] bool grow(uint64_t bytes, uint64_t limit) {
    if (pool_->fetch_add(bytes) + bytes > limit) {
      pool_->fetch_sub(bytes);
      return false;
    }
    bytes_ += bytes;
    return true;
  }

 private:
  std::atomic<uint64_t>* pool_ = nullptr;
  uint64_t bytes_ = 0;
};

class ServerCore {
 public:
  /// `in_certificate` as RequestGuard takes it.
  ServerCore(ServerOptions options_, std::function<bool(const std::string&)> in_certificate);
  ~ServerCore();

  [[nodiscard]] RouteMatch match(const std::string& method, const Target& target) const;
  /// Nothing: the request shows no valid token, and one is asked for.
  [[nodiscard]] std::optional<Principal> principal(const std::map<std::string, std::string>& headers,
                                                   const RouteMatch& match) const;

  void start_workers();
  /// False after close(): the job will not run. Never waits: a connection has one request at a
  /// time.
  [[nodiscard]] bool submit(std::function<void()> job) { return jobs_.push(std::move(job)); }
  void stop_workers();

  [[nodiscard]] uint64_t body_limit(const RouteEntry& entry) const;
  /// For RunsOn::order and transfer; streamed responses run where transfers do.
  [[nodiscard]] StreamThreads& threads(RunsOn runs_on) { return runs_on == RunsOn::order ? orders_ : transfers_; }
  [[nodiscard]] size_t streams_running() const;
  void stop_streams();

  /// False: the address has its share of connections, and none of them could make room.
  [[nodiscard]] bool add_session(const std::shared_ptr<Session>& session, const std::string& address);
  void remove_session(const Session* session);
  /// Whether there is room for one more connection, or an idle one that would make it.
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] std::vector<std::shared_ptr<Session>> sessions() const;
  [[nodiscard]] size_t session_count() const;

  const ServerOptions options;
  const RequestGuard guard;
  std::vector<RouteEntry> routes;
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> body_bytes{0};
  std::atomic<uint64_t> connections{0}, requests{0}, timeouts{0}, refused{0}, evicted{0};
  std::atomic<unsigned> feeds{0};
  std::function<void()> on_session_gone;  ///< set before start; any thread

 private:
  BoundedQueue<std::function<void()>> jobs_;
  std::vector<std::thread> workers_;
  struct Place {
    std::weak_ptr<Session> session;
    std::string share;     ///< whose share it takes
    bool evicted = false;  ///< counts no more, and is on its way out
  };
  using Places = std::unordered_map<const Session*, Place>;
  using Held = std::vector<std::shared_ptr<Session>>;
  struct Victim {
    const Session* key;
    std::shared_ptr<Session> session;
  };
  /// An idle connection of `share`, or where that is empty of whoever has most. Under the mutex; what
  /// goes into `held` may be the last to hold a session, and must outlive the lock.
  [[nodiscard]] std::optional<Victim> find_victim(const std::string& share, Held& held) const;
  [[nodiscard]] bool make_room(const std::string& share, Held& held);
  void leave(const Place& place);

  StreamThreads transfers_, orders_;
  mutable std::mutex sessions_mutex_;
  Places sessions_;
  std::unordered_map<std::string, size_t> shares_;  ///< connections by share
  size_t session_count_ = 0;
};

}  // namespace lookback::http
