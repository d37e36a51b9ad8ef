// An event as one line of JSON. Written by hand: a busy node's window has millions of them.

#include <algorithm>
#include <iterator>

#include "lookback/base/text.hpp"
#include "lookback/observe/event.hpp"

namespace lookback::observe {
namespace {

/// What is not UTF-8 becomes U+FFFD: names of processes and files are any bytes.
void append_text(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) {
      const size_t length = utf8_length(text.substr(i));
      out += length == 0 ? std::string_view("\\ufffd") : text.substr(i, length);
      i += std::max<size_t>(length, 1);
      continue;
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    } else {
      out += c;
    }
    ++i;
  }
  out += '"';
}

class Line {
 public:
  Line(const Event& event, std::string& out) : e_(event), out_(out) {
    out_ += R"({"kind":")";
    out_ += to_string(event.kind);
    fmt::format_to(std::back_inserter(out_), R"(","time":{})", event.time_ns);
  }
  void end() { out_ += "}\n"; }

  template <class T>
  void number(std::string_view key, T value) {
    this->key(key);
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }
  template <class T>
  void known(std::string_view key, T value) {
    if (value != T{}) number(key, value);
  }
  void text(std::string_view key, std::string_view value) {
    if (value.empty()) return;
    this->key(key);
    append_text(out_, value);
  }
  void flag(std::string_view key, bool value) {
    if (!value) return;
    this->key(key);
    out_ += "true";
  }

  void addresses() {
    key("addresses");
    out_ += '[';
    std::string_view rest = e_.text;
    for (bool first = true; !rest.empty(); first = false) {
      const size_t end = std::min(rest.find(' '), rest.size());
      if (!first) out_ += ',';
      append_text(out_, rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    out_ += ']';
  }
  void argv() {
    if (e_.argv.empty()) return;
    key("argv");
    out_ += '[';
    std::string_view rest = e_.argv;
    for (bool first = true; !rest.empty(); first = false) {
      const size_t end = std::min(rest.find('\0'), rest.size());
      if (!first) out_ += ',';
      append_text(out_, rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    out_ += ']';
    flag("argv_cut", e_.argv_cut);
  }
  void process() {
    number("pid", e_.pid);
    number("ppid", e_.ppid);
    if (e_.uid != kNoUid) number("uid", e_.uid);
    known("start", e_.start_ns);
    text("comm", e_.comm);
    text("exe", e_.exe);
    argv();
    known("cgroup", e_.cgroup);
  }
  void owner() {
    if (e_.pid == 0) return;
    number("pid", e_.pid);
    known("tid", e_.tid);
    if (e_.uid != kNoUid) number("uid", e_.uid);
    text("comm", e_.comm);
    known("cgroup", e_.cgroup);
  }
  void protocol() {
    if (e_.protocol == kProtocolTcp)
      text("protocol", "tcp");
    else if (e_.protocol == kProtocolUdp)
      text("protocol", "udp");
    else if (e_.protocol != 0)
      number("protocol", e_.protocol);
  }
  void end_point(std::string_view name, std::string_view port_name, const Address& address,
                 uint16_t port) {
    if (address.family == 0) return;
    text(name, address.text());
    number(port_name, port);
  }
  void endpoints() {
    known("socket", e_.socket);
    protocol();
    known("netns", e_.netns);
    end_point("local", "local_port", e_.local, e_.local_port);
    end_point("remote", "remote_port", e_.remote, e_.remote_port);
    if (e_.v6only) flag("v6only", true);
  }
  void role() {
    if (e_.role != Role::unknown) text("role", e_.role == Role::client ? "client" : "server");
  }

 private:
  void key(std::string_view key) {
    out_ += ",\"";
    out_ += key;
    out_ += "\":";
  }
  const Event& e_;
  std::string& out_;
};

void write_state(Line& line, const Event& e) {
  if (e.kind == Kind::checkpoint) {
    line.number("version", 1);
    line.text("boot_id", e.text);
    line.number("cgroups", e.cgroups);
    line.number("processes", e.processes);
    line.number("sockets", e.sockets);
  } else if (e.kind == Kind::cgroup) {
    line.number("id", e.cgroup);
    line.text("path", e.text);
    line.text("container", e.container);
    line.text("runtime", e.runtime);
    line.text("pod_uid", e.pod_uid);
    line.text("name", e.name);
    line.text("image", e.image);
  } else if (e.kind == Kind::process) {
    line.process();
  } else {
    line.text("state", e.state == tcp_state::kListen    ? "listen"
                       : e.state == tcp_state::kSynSent ? "connecting"
                                                        : "open");
    line.role();
    line.known("opened", e.opened_ns);
    line.endpoints();
    line.owner();
  }
}

}  // namespace

void append_json(const Event& e, std::string& out) {
  Line line(e, out);
  switch (e.kind) {
    case Kind::checkpoint:
    case Kind::cgroup:
    case Kind::process:
    case Kind::socket:
      write_state(line, e);
      break;
    case Kind::fork:
    case Kind::exec:
      line.process();
      break;
    case Kind::move:
      line.number("pid", e.pid);
      line.known("cgroup", e.cgroup);
      break;
    case Kind::exit:
      line.number("pid", e.pid);
      if (e.exit_code != kNoCode) line.number("exit_code", e.exit_code);
      line.known("signal", e.signal);
      break;
    case Kind::oom:
      line.number("pid", e.pid);
      line.text("comm", e.comm);
      break;
    case Kind::listen:
    case Kind::connect:
    case Kind::accept:
    case Kind::udp:
    case Kind::raw:
    case Kind::owner:
      line.endpoints();
      line.known("opened", e.opened_ns);
      line.known("listener_pid", e.listener_pid);
      line.flag("first", e.first);
      line.owner();
      break;
    case Kind::close:
      line.endpoints();
      line.known("opened", e.opened_ns);
      line.known("ended", e.ended_ns);
      if (e.has_bytes) {
        line.number("sent_bytes", e.sent_bytes);
        line.number("received_bytes", e.received_bytes);
      }
      line.owner();
      break;
    case Kind::retransmit:
      line.endpoints();
      line.text("state", tcp_state_name(e.state));
      line.owner();
      break;
    case Kind::reset:
      line.text("direction", e.sent_reset ? "sent" : "received");
      line.endpoints();
      line.owner();
      break;
    case Kind::drop:
      line.text("reason", e.text);
      line.known("netns", e.netns);
      line.known("interface", e.interface);
      line.protocol();
      line.end_point("source", "source_port", e.local, e.local_port);
      line.end_point("destination", "destination_port", e.remote, e.remote_port);
      line.known("count", e.count);
      break;
    case Kind::network:
      line.known("netns", e.netns);
      line.flag("recorder", e.recorder);
      line.addresses();
      break;
    case Kind::interface:
      line.known("netns", e.netns);
      line.known("interface", e.interface);
      line.text("name", e.name);
      line.flag("loopback", e.loopback);
      line.known("peer_netns", e.peer_netns);
      line.addresses();
      break;
    case Kind::lost:
      line.number("count", e.count);
      line.known("from", e.from_ns);
      line.text("reason", e.text);
      break;
  }
  line.end();
}

}  // namespace lookback::observe
