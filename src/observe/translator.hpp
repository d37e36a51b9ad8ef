#pragma once
// Records of the kernel programs → events, in terms of the state that the live table keeps. Every
// event is applied to the table and handed on. One thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>

#include "observe/live_table.hpp"
#include "observe/proc_files.hpp"

struct lb_process_event;
struct lb_socket_event;
struct lb_endpoints;

namespace lookback::observe {

/// What a record alone does not tell.
struct Surroundings {
  std::function<std::string(uint32_t)> drop_reason;
  /// A process that no event told of, with its cgroup; nothing where it is gone.
  std::function<std::optional<Event>(uint32_t pid)> look_up_process;
  /// A cgroup that turned up: path (empty: gone again), container and what its runtime tells of it.
  std::function<Event(uint64_t key, uint32_t pid)> look_up_cgroup;
  /// A cgroup was made.
  std::function<void(uint64_t key, std::string path)> on_cgroup_path;
  uint32_t v1_hierarchy = 0;
};

class Translator {
 public:
  Translator(LiveTable& table, Surroundings surroundings, std::function<void(const Event&)> sink)
      : table_(table), around_(std::move(surroundings)), sink_(std::move(sink)) {}

  /// Of the clocks at the moment of the records that follow.
  void set_clock(const ClockBase& clock) { clock_ = clock; }
  /// One record of the ring. False: it is none, and is passed over.
  bool take(std::span<const std::byte> record);
  /// Applies an event and hands it on, a new cgroup and an unknown process before it.
  void emit(Event event);
  /// Of the two cgroups that a process is in, the one that tells more.
  [[nodiscard]] uint64_t choose_cgroup(uint64_t v2_key, uint64_t v1_key, uint32_t pid);

 private:
  bool take_process(const lb_process_event& record, std::span<const std::byte> bytes);
  bool take_cgroup(std::span<const std::byte> bytes);
  bool take_socket(std::span<const std::byte> bytes);
  bool take_drop(std::span<const std::byte> bytes);
  void take_use(Event event, const lb_socket_event& record);
  void fill_owner(Event& event, const lb_socket_event& record);
  [[nodiscard]] const Event& know_cgroup(uint64_t key, uint32_t pid);
  void know_process(const Event& event);
  [[nodiscard]] int64_t real(uint64_t monotonic) const {
    return monotonic == 0 ? 0 : static_cast<int64_t>(monotonic) + clock_.monotonic_to_real_ns;
  }

  LiveTable& table_;
  const Surroundings around_;
  const std::function<void(const Event&)> sink_;
  ClockBase clock_;
  /// Cgroups that were looked at without being told of yet.
  std::unordered_map<uint64_t, Event> cgroups_;
};

}  // namespace lookback::observe
