#include "lookback/observe/event.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace lookback::observe {
namespace {

constexpr std::array<std::string_view, kLastKind + 1> kKinds{
    "",           "checkpoint", "cgroup",  "process", "socket",  "fork",     "exec",  "move",
    "exit",       "listen",     "connect", "accept",  "udp",     "owner",    "close", "oom",
    "retransmit", "reset",      "drop",    "lost",    "network", "interface",
    "raw"};
constexpr std::array<std::string_view, 13> kStates{
    "",      "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",   "TIME_WAIT",
    "CLOSE", "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "CLOSING",   "NEW_SYN_RECV"};

constexpr size_t kIpv4Bytes = 4;

/// The fields and their numbers on disk, which stay what they are. `value` first, then the same of
/// an event that has none.
template <class E, class Visit>
void each_field(E& e, const Event& d, Visit&& visit) {
  visit(1, e.pid, d.pid);
  visit(2, e.tid, d.tid);
  visit(3, e.ppid, d.ppid);
  visit(4, e.uid, d.uid);
  visit(5, e.comm, d.comm);
  visit(6, e.cgroup, d.cgroup);
  visit(7, e.start_ns, d.start_ns);
  visit(8, e.exe, d.exe);
  visit(9, e.argv, d.argv);
  visit(10, e.argv_cut, d.argv_cut);
  visit(11, e.exit_code, d.exit_code);
  visit(12, e.signal, d.signal);
  visit(13, e.socket, d.socket);
  visit(14, e.protocol, d.protocol);
  visit(15, e.state, d.state);
  visit(16, e.role, d.role);
  visit(17, e.first, d.first);
  visit(18, e.sent_reset, d.sent_reset);
  visit(19, e.has_bytes, d.has_bytes);
  visit(20, e.local_port, d.local_port);
  visit(21, e.remote_port, d.remote_port);
  visit(22, e.netns, d.netns);
  visit(23, e.local, d.local);
  visit(24, e.remote, d.remote);
  visit(25, e.opened_ns, d.opened_ns);
  visit(26, e.ended_ns, d.ended_ns);
  visit(27, e.sent_bytes, d.sent_bytes);
  visit(28, e.received_bytes, d.received_bytes);
  visit(29, e.listener_pid, d.listener_pid);
  visit(30, e.interface, d.interface);
  visit(31, e.count, d.count);
  visit(32, e.from_ns, d.from_ns);
  visit(33, e.text, d.text);
  visit(34, e.container, d.container);
  visit(35, e.runtime, d.runtime);
  visit(36, e.pod_uid, d.pod_uid);
  visit(37, e.name, d.name);
  visit(38, e.image, d.image);
  visit(39, e.cgroups, d.cgroups);
  visit(40, e.processes, d.processes);
  visit(41, e.sockets, d.sockets);
  visit(42, e.peer_netns, d.peer_netns);
  visit(43, e.recorder, d.recorder);
  visit(44, e.loopback, d.loopback);
  visit(45, e.v6only, d.v6only);
}

uint64_t zigzag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}
int64_t unzigzag(uint64_t value) {
  return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
}

/// Each field is a varint "number * 2 + (1: bytes follow)", then a varint, or a length and bytes.
/// Most are a few bytes long: they are put together on the stack.
class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}
  ~Encoder() { flush(); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void varint(uint64_t value) {
    if (used_ + kMostVarint > room_.size()) flush();
    while (value >= 0x80) {
      room_[used_++] = static_cast<char>(value | 0x80);
      value >>= 7;
    }
    room_[used_++] = static_cast<char>(value);
  }
  void text(std::string_view value) {
    if (value.size() > room_.size() - used_) flush();
    if (value.size() > room_.size()) {
      out_ += value;
      return;
    }
    std::copy(value.begin(), value.end(), room_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += value.size();
  }
  template <class T>
  void operator()(int field, const T& value, const T& none) {
    if constexpr (std::is_same_v<T, std::string>) {
      if (!value.empty()) bytes(field, value);
    } else if constexpr (std::is_same_v<T, Address>) {
      if (value.family == none.family && value == none) return;
      bytes(field, {reinterpret_cast<const char*>(value.bytes.data()),
                    value.family == 4 ? kIpv4Bytes : 16});
    } else {
      if (value == none) return;
      varint(static_cast<uint64_t>(field) * 2);
      if constexpr (std::is_same_v<T, bool> || std::is_enum_v<T>)
        varint(static_cast<uint64_t>(value));
      else if constexpr (std::is_signed_v<T>)
        varint(zigzag(value));
      else
        varint(value);
    }
  }

 private:
  static constexpr size_t kMostVarint = 10;
  void bytes(int field, std::string_view value) {
    varint(static_cast<uint64_t>(field) * 2 + 1);
    varint(value.size());
    text(value);
  }
  void flush() { out_.append(room_.data(), std::exchange(used_, 0)); }

  std::string& out_;
  std::array<char, 256> room_;
  size_t used_ = 0;
};

class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool ended() const { return at_ == bytes_.size(); }
  bool varint(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (ended()) return false;
      const auto byte = static_cast<uint64_t>(bytes_[at_++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool text(std::string_view& value) {
    uint64_t length = 0;
    if (!varint(length) || length > bytes_.size() - at_) return false;
    value = {reinterpret_cast<const char*>(bytes_.data()) + at_, static_cast<size_t>(length)};
    at_ += static_cast<size_t>(length);
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

struct Decoder {
  uint64_t field = 0, number = 0;
  bool is_bytes = false;
  std::string_view bytes;
  bool wrong = false;
  template <class T>
  void operator()(int known, T& value, const T&) {
    if (static_cast<uint64_t>(known) != field) return;
    if constexpr (std::is_same_v<T, std::string>) {
      if (is_bytes) value = bytes;
      wrong = !is_bytes;
    } else if constexpr (std::is_same_v<T, Address>) {
      wrong = !is_bytes || (bytes.size() != kIpv4Bytes && bytes.size() != 16);
      if (!wrong) {
        value.family = bytes.size() == kIpv4Bytes ? 4 : 6;
        std::memcpy(value.bytes.data(), bytes.data(), bytes.size());
      }
    } else if constexpr (std::is_same_v<T, bool>) {
      wrong = is_bytes || number > 1;
      value = number == 1;
    } else if constexpr (std::is_enum_v<T>) {
      wrong = is_bytes || number > static_cast<uint64_t>(Role::server);
      if (!wrong) value = static_cast<T>(number);
    } else if constexpr (std::is_signed_v<T>) {
      value = static_cast<T>(unzigzag(number));
      wrong = is_bytes || value != unzigzag(number);
    } else {
      value = static_cast<T>(number);
      wrong = is_bytes || value != number;
    }
  }
};

const Event kNothing;

}  // namespace

std::string_view to_string(Kind kind) {
  return kKinds[std::min<size_t>(static_cast<size_t>(kind), kLastKind)];
}

std::string_view tcp_state_name(uint8_t state) {
  return state < kStates.size() ? kStates[state] : "";
}

Address Address::make(uint8_t family, const uint8_t* bytes) {
  static constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  Address address;
  if (family == 6 && std::equal(kMapped.begin(), kMapped.end(), bytes)) {
    family = 4;
    bytes += kMapped.size();
  }
  address.family = family;
  std::copy_n(bytes, family == 4 ? kIpv4Bytes : 16, address.bytes.begin());
  return address;
}

std::string Address::text() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family != 0) inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

void encode_event(const Event& event, std::string& out) {
  out += static_cast<char>(event.kind);
  Encoder encoder(out);
  encoder.varint(zigzag(event.time_ns));
  each_field(event, kNothing, encoder);
}

Result<Event> decode_event(std::span<const std::byte> bytes) {
  Event event;
  if (bytes.empty()) return fail(ErrorKind::corrupt, "an event has no kind");
  const auto kind = static_cast<uint8_t>(bytes[0]);
  if (kind == 0 || kind > kLastKind)
    return fail(ErrorKind::corrupt, "there is no event of kind {}", kind);
  event.kind = static_cast<Kind>(kind);
  Input input(bytes.subspan(1));
  uint64_t time = 0;
  if (!input.varint(time)) return fail(ErrorKind::corrupt, "an event has no time");
  event.time_ns = unzigzag(time);
  while (!input.ended()) {
    Decoder decoder;
    uint64_t tag = 0;
    if (!input.varint(tag)) return fail(ErrorKind::corrupt, "an event ends early");
    decoder.field = tag / 2;
    decoder.is_bytes = tag % 2 != 0;
    if (decoder.is_bytes ? !input.text(decoder.bytes) : !input.varint(decoder.number))
      return fail(ErrorKind::corrupt, "an event ends early");
    each_field(event, kNothing, decoder);
    if (decoder.wrong)
      return fail(ErrorKind::corrupt, "field {} of an event is out of range", decoder.field);
  }
  return event;
}

}  // namespace lookback::observe
