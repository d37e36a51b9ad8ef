#pragma once
// A capture daemon's API as the hub sees it, in the test's own process, honest or not.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lookback/archive/member.hpp"
#include "lookback/base/json.hpp"
#include "lookback/http/server.hpp"

namespace lookback::hub::test {

/// A member of `packets` UDP packets between 10.0.0.1 and 10.0.0.2, a millisecond apart from
/// `start_ns` on.
[[nodiscard]] archive::MemberContent make_member(const std::string& node, int64_t start_ns,
                                                 size_t packets, size_t payload = 200);
[[nodiscard]] std::vector<std::byte> wire_of(const archive::MemberContent& member);

class FakeNode {
 public:
  /// Changes what GET …/members/{index} answers; nothing: as it is.
  using MemberHook = std::function<std::optional<http::Response>(uint32_t index)>;

  explicit FakeNode(std::string name);
  ~FakeNode();

  void add_member(const archive::MemberContent& member);
  /// Any wire bytes as a member.
  void add_wire(std::vector<std::byte> wire, uint64_t announced_bytes);
  void start(uint16_t port = 0);
  void stop();
  [[nodiscard]] std::string url() const;
  [[nodiscard]] uint16_t port() const;
  [[nodiscard]] const std::string& name() const { return name_; }
  /// A heartbeat's body for this node.
  [[nodiscard]] std::string heartbeat(int64_t offset_ns = 0, int64_t error_ns = -1) const;

  // set before start()
  bool refuses_freeze = false;
  bool covers_window = true;
  std::set<uint32_t> given_up;  ///< listed as given up
  MemberHook hook;
  std::function<void(Json&)> change_freeze;
  /// Changes what GET …/freezes/{id} answers once members were fetched; false: nothing of use is answered.
  std::function<bool(Json&)> change_description;
  uint64_t compressed_estimate = 0;  ///< 0: what it is
  uint64_t quota_bytes = 0;          ///< of its storage, told in heartbeats; 0: not told

  bool loses_release = false;  ///< no answer to DELETE, ever

  [[nodiscard]] size_t freezes() const;
  [[nodiscard]] Json last_freeze() const;  ///< the request
  [[nodiscard]] std::map<uint32_t, int> gets() const;
  [[nodiscard]] std::map<uint32_t, int> whole() const;  ///< answers that were sent to their end
  std::atomic<bool> hangs{false};    ///< nothing is answered any more, connections stay
  std::atomic<int64_t> delay_ms{0};  ///< before each member

 private:
  [[nodiscard]] http::Response freeze(const http::Request& request);
  [[nodiscard]] http::Response describe(const http::Request& request);
  [[nodiscard]] http::Response member(const http::Request& request);
  void wait_while_hanging() const;

  const std::string name_;
  std::vector<std::vector<std::byte>> wires_;
  std::vector<uint64_t> announced_;
  std::unique_ptr<http::Server> server_;
  mutable std::mutex mutex_;
  std::map<std::string, Json> freezes_;  ///< as answered
  Json last_freeze_;
  std::map<uint32_t, int> gets_, whole_;
  std::atomic<bool> stopping_{false};
};

}  // namespace lookback::hub::test
