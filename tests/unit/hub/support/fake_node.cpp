#include "fake_node.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <thread>

#include "lookback/base/fd.hpp"
#include "lookback/base/time.hpp"
#include "lookback/exporter/member_builder.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::hub::test {

namespace {

std::vector<std::byte> udp_packet(size_t payload, uint32_t seed) {
  std::vector<uint8_t> p = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0};
  const auto total = static_cast<uint16_t>(28 + payload);
  const uint8_t ip[] = {0x45,
                        0,
                        static_cast<uint8_t>(total >> 8),
                        static_cast<uint8_t>(total & 255),
                        0,
                        0,
                        0,
                        0,
                        64,
                        17,
                        0,
                        0,
                        10,
                        0,
                        0,
                        1,
                        10,
                        0,
                        0,
                        2};
  p.insert(p.end(), std::begin(ip), std::end(ip));
  const auto udp = static_cast<uint16_t>(8 + payload);
  const uint8_t header[] = {
      0x30, 0x39, 0, 53, static_cast<uint8_t>(udp >> 8), static_cast<uint8_t>(udp & 255), 0, 0};
  p.insert(p.end(), std::begin(header), std::end(header));
  uint32_t x = seed + 1;
  for (size_t i = 0; i < payload; ++i) {
    x = x * 1664525 + 1013904223;
    p.push_back(static_cast<uint8_t>(x >> 24));
  }
  std::vector<std::byte> out(p.size());
  std::memcpy(out.data(), p.data(), p.size());
  return out;
}

}  // namespace

archive::MemberContent make_member(const std::string& node, int64_t start_ns, size_t packets,
                                   size_t payload) {
  packet::Interface interface;
  interface.name = "eth0";
  exporter::MemberBuilder builder(node, {interface}, "lookback test");
  for (size_t i = 0; i < packets; ++i) {
    const auto bytes =
        udp_packet(payload, static_cast<uint32_t>(i + static_cast<size_t>(start_ns / 1'000'000)));
    packet::PacketView view;
    view.time_ns = start_ns + static_cast<int64_t>(i) * 1'000'000;
    view.data = bytes;
    view.original_length = static_cast<uint32_t>(bytes.size());
    builder.add(view);
  }
  return builder.finish();
}

std::vector<std::byte> wire_of(const archive::MemberContent& member) {
  std::vector<std::byte> wire = archive::encode_member_header(member);
  wire.insert(wire.end(), member.compressed.begin(), member.compressed.end());
  return wire;
}

FakeNode::FakeNode(std::string name) : name_(std::move(name)) {}
FakeNode::~FakeNode() {
  stop();
}

void FakeNode::add_member(const archive::MemberContent& member) {
  add_wire(wire_of(member), member.size);
}

void FakeNode::add_wire(std::vector<std::byte> wire, uint64_t announced_bytes) {
  wires_.push_back(std::move(wire));
  announced_.push_back(announced_bytes);
}

void FakeNode::start(uint16_t port) {
  stopping_ = false;
  http::ServerOptions options;
  options.listen = fmt::format("127.0.0.1:{}", port);
  auto created = http::Server::create(options);
  REQUIRE(created);
  server_ = std::move(*created);
  // Upload routes have threads of their own, so that a node that hangs can be made to hang on many
  // connections.
  server_->add({.method = "POST", .pattern = "/api/v1/freezes", .runs_on = http::RunsOn::transfer}, [this](http::Request& request) {
    std::vector<std::byte> buffer(4096);
    while (const size_t n = request.read_body(buffer).value_or(0))
      request.body.append(reinterpret_cast<char*>(buffer.data()), n);
    return freeze(request);
  });
  server_->add({"DELETE", "/api/v1/freezes/{id}"}, [this](http::Request& request) {
    while (loses_release && !stopping_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const std::lock_guard lock(mutex_);
    freezes_.erase(request.parameters.at("id"));
    http::Response response;
    response.status = 204;
    return response;
  });
  server_->add({.method = "GET", .pattern = "/api/v1/freezes/{id}", .runs_on = http::RunsOn::transfer}, [this](http::Request& request) { return describe(request); });
  server_->add({.method = "GET", .pattern = "/api/v1/freezes/{id}/members/{index}", .runs_on = http::RunsOn::transfer}, [this](http::Request& request) { return member(request); });
  REQUIRE(server_->start());
}

void FakeNode::stop() {
  stopping_ = true;
  if (server_) server_->stop();
}

std::string FakeNode::url() const {
  return fmt::format("http://127.0.0.1:{}", server_->port());
}
uint16_t FakeNode::port() const {
  return server_->port();
}

std::string FakeNode::heartbeat(int64_t offset_ns, int64_t error_ns) const {
  Json body = {{"version", "0.1.0"},
               {"url", ""},
               {"port", server_->port()},
               {"tls", false},
               {"incarnation", "i-" + name_},
               {"status",
                {{"oldest", "2026-01-01T00:00:00.000000000Z"},
                 {"newest", "2026-01-01T01:00:00.000000000Z"},
                 {"packets", 12},
                 {"quota_bytes", quota_bytes},
                 {"rate", {{"packets_per_second", 1.5}, {"bytes_per_second", 100}}},
                 {"drops", {{"packets", 3}, {"disk_full_packets", 1}}}}},
               {"clock", nullptr},
               {"sent_ns", 1}};
  if (error_ns >= 0)
    body["clock"] = {{"offset_ns", offset_ns},
                     {"error_ns", error_ns},
                     {"measured", format_time_ns(1'700'000'000'000'000'000)}};
  return body.dump();
}

void FakeNode::wait_while_hanging() const {
  while (hangs && !stopping_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

http::Response FakeNode::freeze(const http::Request& request) {
  wait_while_hanging();
  const auto json = parse_json(request.body, "freeze");
  if (!json) return http::Response::problem({ErrorKind::invalid, "bad freeze"});
  if (refuses_freeze)
    return http::Response::problem({ErrorKind::no_space, "no room for another freeze"});
  const std::string from = json->at("from"), to = json->at("to"), id = json->at("id");
  Json members = Json::array(), gaps = Json::array();
  uint64_t compressed = 0, content = 0;
  for (size_t i = 0; i < wires_.size(); ++i) {
    members.push_back(
        {{"index", i},
         {"packets", 100},
         {"content_bytes", announced_[i]},
         {"first", from},
         {"last", to},
         {"state", given_up.contains(static_cast<uint32_t>(i)) ? "given_up" : "available"}});
    compressed += wires_[i].size();
    content += announced_[i];
  }
  if (!covers_window)
    gaps.push_back({{"start", from}, {"end", to}, {"packets", 7}, {"reason", "kernel ring full"}});
  Json clock = Json::array(), interfaces = Json::array();
  clock.push_back({{"time", from}, {"offset_ns", 5}, {"error_ns", 10}, {"step_ns", 0}});
  interfaces.push_back(
      {{"index", 1}, {"name", "eth0"}, {"link_type", 1}, {"mac", "02:00:00:00:00:01"}});
  Json answer = {{"id", id},
                 {"owner", json->at("owner")},
                 {"from", from},
                 {"to", to},
                 {"created", to},
                 {"expires", to},
                 {"oldest", format_time_ns(1'000'000'000'000'000'000)},
                 {"complete", covers_window},
                 {"reason", covers_window ? "" : "7 packets were lost in the window"},
                 {"gaps", gaps},
                 {"clock", clock},
                 {"interfaces", interfaces},
                 {"content_bytes", content},
                 {"compressed_bytes", compressed_estimate != 0 ? compressed_estimate : compressed},
                 {"members", members}};
  if (change_freeze) change_freeze(answer);
  const std::lock_guard lock(mutex_);
  freezes_[id] = answer;
  last_freeze_ = *json;
  return http::Response::json(answer.dump(), 201);
}

http::Response FakeNode::describe(const http::Request& request) {
  wait_while_hanging();
  Json answer;
  {
    const std::lock_guard lock(mutex_);
    const auto found = freezes_.find(request.parameters.at("id"));
    if (found == freezes_.end())
      return http::Response::problem({ErrorKind::not_found, "no such freeze"});
    answer = found->second;
  }
  if (change_description && !change_description(answer))
    return http::Response::problem({ErrorKind::failed, "the disk cannot be read"}, 500);
  return http::Response::json(answer.dump());
}

http::Response FakeNode::member(const http::Request& request) {
  const auto index = static_cast<uint32_t>(std::stoul(request.parameters.at("index")));
  {
    const std::lock_guard lock(mutex_);
    ++gets_[index];
    if (!freezes_.contains(request.parameters.at("id")))
      return http::Response::problem({ErrorKind::not_found, "no such freeze"});
  }
  wait_while_hanging();
  for (int64_t waited = 0; waited < delay_ms && !stopping_; waited += 5)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (hook) {
    if (auto response = hook(index)) return std::move(*response);
  }
  if (index >= wires_.size())
    return http::Response::problem({ErrorKind::not_found, "no such member"});
  http::Response response;
  response.content_type = "application/octet-stream";
  response.content_length = wires_[index].size();
  response.stream = [this, index](const http::BodyWriter& write) -> Result<> {
    TRY(write(wires_[index]));
    const std::lock_guard lock(mutex_);
    ++whole_[index];
    return {};
  };
  return response;
}

size_t FakeNode::freezes() const {
  const std::lock_guard lock(mutex_);
  return freezes_.size();
}
Json FakeNode::last_freeze() const {
  const std::lock_guard lock(mutex_);
  return last_freeze_;
}
std::map<uint32_t, int> FakeNode::gets() const {
  const std::lock_guard lock(mutex_);
  return gets_;
}
std::map<uint32_t, int> FakeNode::whole() const {
  const std::lock_guard lock(mutex_);
  return whole_;
}

}  // namespace lookback::hub::test
