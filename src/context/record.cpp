#include "lookback/context/record.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "lookback/base/ip_protocol.hpp"
#include "lookback/base/json.hpp"

namespace lookback::context {

namespace {

struct KindName {
  std::string_view name;
  Kind kind;
};
constexpr KindName kKinds[] = {{"checkpoint", Kind::checkpoint},
                               {"cgroup", Kind::cgroup},
                               {"process", Kind::process},
                               {"socket", Kind::socket},
                               {"fork", Kind::fork},
                               {"exec", Kind::exec},
                               {"move", Kind::move},
                               {"exit", Kind::exit},
                               {"listen", Kind::listen},
                               {"connect", Kind::connect},
                               {"accept", Kind::accept},
                               {"udp", Kind::udp},
                               {"raw", Kind::raw},
                               {"owner", Kind::owner},
                               {"close", Kind::close},
                               {"lost", Kind::lost},
                               {"network", Kind::network},
                               {"interface", Kind::interface}};

/// Fields of one line; the first that is wrong is remembered.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  template <class T>
  void number(const char* key, T& target) {
    const auto value = json_get_or<T>(object_, key, T{});
    if (value) {
      target = *value;
    } else {
      keep(value.error());
    }
  }
  template <class T>
  void number(const char* key, std::optional<T>& target) {
    if (!object_.contains(key)) return;
    T value{};
    number(key, value);
    target = value;
  }
  void text(const char* key, std::string& target) {
    auto value = json_get_or<std::string>(object_, key, {});
    if (!value) return keep(value.error());
    target = std::move(*value);
    if (target.size() > kMaxText) target.resize(kMaxText);
  }
  /// "tcp", "udp", or the number of another.
  void protocol(uint8_t& target) {
    const auto found = object_.find("protocol");
    if (found == object_.end() || !found->is_string()) return number("protocol", target);
    const auto& name = found->get_ref<const std::string&>();
    target = name == "tcp" ? ip_protocol::kTcp : name == "udp" ? ip_protocol::kUdp : 0;
  }
  void flag(const char* key, bool& target) {
    const auto value = json_get_or<bool>(object_, key, false);
    if (!value) return keep(value.error());
    target = *value;
  }
  /// False where the field is not there.
  bool address(const char* key, Address& target) {
    std::string value;
    text(key, value);
    if (value.empty()) return false;
    const auto parsed = parse_address(value);
    if (!parsed) {
      keep({ErrorKind::corrupt, fmt::format("'{}' is not an address", key)});
      return false;
    }
    target = *parsed;
    return true;
  }
  void addresses(const char* key, std::vector<Address>& target) {
    const auto list = object_.find(key);
    if (list == object_.end()) return;
    if (!list->is_array() || list->size() > kMaxAddresses)
      return keep({ErrorKind::corrupt, fmt::format("'{}' is not a list of addresses", key)});
    for (const Json& one : *list) {
      const auto parsed =
          one.is_string() ? parse_address(one.get_ref<const std::string&>()) : std::nullopt;
      if (!parsed) return keep({ErrorKind::corrupt, fmt::format("'{}' has no address", key)});
      target.push_back(*parsed);
    }
  }
  void keep(const Error& error) {
    if (!error_) error_ = error;
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  const Json& object_;
  std::optional<Error> error_;
};

void read_socket(Fields& fields, Record& record) {
  fields.number("socket", record.socket);
  fields.number("netns", record.netns);
  std::string state, role;
  fields.protocol(record.protocol);
  (void)fields.address("local", record.local);
  fields.number("local_port", record.local_port);
  const bool remote = fields.address("remote", record.remote);
  fields.number("remote_port", record.remote_port);
  record.has_remote = remote && record.remote_port != 0;
  fields.text("state", state);
  fields.text("role", role);
  record.listening = record.kind == Kind::listen || state == "listen";
  record.server = record.kind == Kind::accept || role == "server";
  record.client = record.kind == Kind::connect || role == "client";
  fields.flag("v6only", record.v6only);
  fields.number("opened", record.opened_ns);
  fields.number("ended", record.ended_ns);
  fields.flag("first", record.first);
}

}  // namespace

bool is_about_socket(Kind kind) {
  switch (kind) {
    case Kind::socket:
    case Kind::listen:
    case Kind::connect:
    case Kind::accept:
    case Kind::udp:
    case Kind::raw:
    case Kind::owner:
    case Kind::close:
      return true;
    default:
      return false;
  }
}

std::optional<Address> parse_address(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN + 1] = {};
  if (text.empty() || text.size() >= sizeof terminated) return std::nullopt;
  std::copy(text.begin(), text.end(), terminated);
  Address address{};
  if (::inet_pton(AF_INET, terminated, address.data() + 12) == 1) {
    address[10] = address[11] = 0xff;
    return address;
  }
  if (::inet_pton(AF_INET6, terminated, address.data()) == 1) return address;
  return std::nullopt;
}

Result<Record> parse_record(std::string_view line) {
  if (line.size() > kMaxLine) return fail(ErrorKind::corrupt, "a line of {} bytes", line.size());
  TRY_ASSIGN(const Json object, parse_json(line, "an OS event"));
  if (!object.is_object()) return fail(ErrorKind::corrupt, "an OS event is not an object");
  Record record;
  TRY_ASSIGN(const std::string kind, json_get<std::string>(object, "kind"));
  TRY_ASSIGN(record.time_ns, json_get<int64_t>(object, "time"));
  const auto known = std::find_if(std::begin(kKinds), std::end(kKinds),
                                  [&](const KindName& one) { return one.name == kind; });
  if (known == std::end(kKinds)) return record;
  record.kind = known->kind;
  Fields fields(object);
  if (record.kind == Kind::checkpoint) {
    fields.number("sockets", record.sockets);
    fields.number("processes", record.processes);
  } else if (record.kind == Kind::cgroup) {
    fields.number("id", record.cgroup);
    fields.text("container", record.container);
    fields.text("runtime", record.runtime);
    fields.text("pod_uid", record.pod_uid);
    fields.text("name", record.name);
    fields.text("image", record.image);
  } else if (record.kind == Kind::network || record.kind == Kind::interface) {
    fields.number("netns", record.netns);
    fields.number("peer_netns", record.peer_netns);
    fields.text("name", record.name);
    fields.flag("loopback", record.loopback);
    fields.addresses("addresses", record.addresses);
  } else {
    fields.number("pid", record.pid);
    fields.number("ppid", record.ppid);
    fields.number("tid", record.tid);
    fields.number("uid", record.uid);
    fields.number("cgroup", record.cgroup);
    fields.text("comm", record.comm);
    fields.text("exe", record.exe);
    if (is_about_socket(record.kind)) read_socket(fields, record);
  }
  if (fields.error()) return tl::make_unexpected(*fields.error());
  return record;
}

}  // namespace lookback::context
