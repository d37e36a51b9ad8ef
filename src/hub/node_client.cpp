#include "node_client.hpp"

#include <algorithm>
#include <iterator>

#include "json_text.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/json_fields.hpp"
#include "lookback/http/roles.hpp"

namespace lookback::hub {

namespace {

/// Of its lists: a sample of the clock has four values.
constexpr size_t kMaxFreezeValues = 1'000'000;
/// Of what a node says, before it is looked at: some hundred thousand members.
constexpr uint64_t kMaxFreezeAnswer = 64ULL << 20, kMaxShortAnswer = 64ULL << 10;
constexpr int64_t kMaxConnectMs = 5'000, kMaxStallMs = 20'000, kLeastMs = 200;
/// A node that gives less than this for longer than the stall time-out is as good as silent.
constexpr uint64_t kLeastBytesPerSecond = 32 << 10;

std::string freeze_path(const std::string& id) {
  return "/api/v1/freezes/" + http::url_encode(id);
}

/// The part of the window that the node still had, in node time.
std::optional<TimeWindow> coverage_of(const TimeWindow& window,
                                      const std::optional<int64_t>& oldest) {
  const TimeWindow coverage{std::max(window.from_ns, oldest.value_or(window.to_ns)), window.to_ns};
  if (coverage.empty()) return std::nullopt;
  return coverage;
}

/// Cuts a reason to a decent length, never inside a character.
void clip(std::string& text) {
  constexpr size_t kMaxReason = 1024;
  if (text.size() <= kMaxReason) return;
  size_t end = kMaxReason;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
}

Result<TimeWindow> window_of(const Json& json) {
  TimeWindow window;
  TRY_ASSIGN(window.from_ns, json_time(json, "from"));
  TRY_ASSIGN(window.to_ns, json_time(json, "to"));
  if (window.empty()) return fail(ErrorKind::corrupt, "it froze an empty window");
  return window;
}

/// A list of members is held against what the node itself says of the freeze: members have at least
/// a page of content each, and all of them together the content that it estimates.
Result<> check_sums(const std::vector<FrozenMember>& members, uint64_t estimate) {
  constexpr uint64_t kLeastContent = 4096, kSlackMembers = 1024, kSlackBytes = 64 << 20;
  uint64_t whole = 0, available = 0;  // at most 64 MiB each: the sums of a million fit
  for (const FrozenMember& member : members) {
    whole += member.content_bytes;
    if (!member.given_up) available += member.content_bytes;
  }
  if (members.size() > kSlackMembers + whole / kLeastContent)
    return fail(ErrorKind::corrupt, "it lists {} members for {} bytes of content", members.size(),
                whole);
  if (available > estimate && available - estimate > estimate / 4 + kSlackBytes)
    return fail(ErrorKind::corrupt, "its {} members have {} bytes of content, it estimates {}",
                members.size(), available, estimate);
  return {};
}

/// The freeze without its members, which are many and come one by one.
Result<Json> read_fields(std::string_view body, std::vector<FrozenMember>& members) {
  static constexpr std::string_view kFields[] = {
      "id",    "complete",   "reason", "oldest",        "from",            "to",     "gaps",
      "clock", "interfaces", "layers", "excluded", "content_bytes", "compressed_bytes", "members"};
  Json fields = Json::object();
  FieldHandlers handlers;
  handlers.max_values = kMaxFreezeValues;
  handlers.field = [&](const std::string& key, Json&& value) -> Result<> {
    fields[key] = std::move(value);
    return {};
  };
  handlers.is_streamed = [](const std::string& key) { return key == "members"; };
  handlers.element = [&](const std::string&, Json&& element) { return add_member(element, members); };
  handlers.is_unknown = [](const std::string& key) {
    return std::find(std::begin(kFields), std::end(kFields), key) == std::end(kFields);
  };
  TRY(read_json_fields(body, handlers));
  return fields;
}

Result<> read_freeze(std::string_view body, const std::string& expected_id, NodeRecord& node) {
  std::vector<FrozenMember> members;
  TRY_ASSIGN(const Json json, read_fields(body, members));
  TRY_ASSIGN(const std::string id, json_get<std::string>(json, "id"));
  if (id != expected_id) return fail(ErrorKind::corrupt, "it froze '{}' instead", id.substr(0, 64));
  NodeRecord read;
  read.place = node.place;
  read.entry.name = node.entry.name;
  read.entry.version = node.entry.version;
  TRY_ASSIGN(read.covers_window, json_get<bool>(json, "complete"));
  TRY_ASSIGN(read.entry.reason, json_get_or<std::string>(json, "reason", ""));
  clip(read.entry.reason);
  TRY_ASSIGN(const std::optional<int64_t> oldest, json_time_or_none(json, "oldest"));
  TRY_ASSIGN(read.window, window_of(json));
  read.entry.coverage = coverage_of(read.window, oldest);
  TRY(archive::read_evidence(json, read.entry, kMaxGaps));
  read.members = std::move(members);
  TRY_ASSIGN(const uint64_t estimate, json_get<uint64_t>(json, "content_bytes"));
  TRY(check_sums(read.members, estimate));
  for (const FrozenMember& member : read.members) {
    if (!member.given_up) read.content_bytes += member.content_bytes;
  }
  TRY_ASSIGN(read.compressed_bytes,
             json_get_or<uint64_t>(json, "compressed_bytes", read.content_bytes));
  read.compressed_bytes =
      std::min(read.compressed_bytes, read.content_bytes + read.content_bytes / 8 + (1 << 20));
  TRY(check_node_entry(read.entry));
  read.frozen = true;
  node = std::move(read);
  return {};
}

}  // namespace

Result<NodeClient> NodeClient::create(const NodeAccess& access, const std::string& node,
                                      const NodePlace& place, int64_t patience_ns) {
  if (access.tls_only && !place.url.starts_with("https://"))
    return fail(ErrorKind::unauthorized, "{} is without TLS, and this hub calls nodes with TLS only", place.url);
  http::ClientOptions options;
  options.base_url = place.url;
  options.connect_address = place.address;
  if (!access.token.empty()) options.token = http::node_token(access.token, node);
  options.ca_file = access.ca_file;
  const int64_t third_ms = patience_ns / 3 / 1'000'000;
  options.connect_timeout_ms = std::clamp(third_ms, kLeastMs, kMaxConnectMs);
  options.stall_timeout_ms = std::clamp(third_ms, kLeastMs, kMaxStallMs);
  options.least_bytes_per_second = kLeastBytesPerSecond;
  options.total_timeout_ms = std::max(10 * (patience_ns / 1'000'000), kLeastMs);
  TRY_ASSIGN(http::Client client, http::Client::create(std::move(options)));
  return NodeClient(std::move(client));
}

Result<> NodeClient::freeze(const FreezeOrder& order, NodeRecord& node,
                            const std::atomic<bool>& cancelled) {
  const Json request = {{"id", order.id},
                        {"owner", order.owner},
                        {"hub", order.hub_id},
                        {"from", time_to_json(order.window.from_ns)},
                        {"to", time_to_json(order.window.to_ns)},
                        {"ttl_ns", kFreezeTimeToLive},
                        {"networks", order.networks}};
  std::vector<std::byte> body;
  TRY_ASSIGN(const http::ClientResponse response,
             client_.fetch("POST", "/api/v1/freezes", to_text(request), kMaxFreezeAnswer, body,
                           &cancelled));
  if (response.status >= 400)
    return tl::make_unexpected(http::Client::error_of(response, "the node"));
  if (auto read = read_freeze(as_text(body), order.id, node); !read)
    return fail(ErrorKind::corrupt, "the node's freeze cannot be used: {}", read.error().message);
  return {};
}

Result<> NodeClient::describe(const std::string& freeze_id, NodeRecord& node,
                              const std::atomic<bool>& cancelled) {
  std::vector<std::byte> body;
  TRY_ASSIGN(const http::ClientResponse response,
             client_.fetch("GET", freeze_path(freeze_id), {}, kMaxFreezeAnswer, body, &cancelled));
  if (response.status >= 400) {
    Error error = http::Client::error_of(response, "the node");
    if (response.status >= 500) error.kind = ErrorKind::unavailable;
    return tl::make_unexpected(std::move(error));
  }
  if (auto read = read_freeze(as_text(body), freeze_id, node); !read)
    return fail(ErrorKind::corrupt, "the node's freeze cannot be used: {}", read.error().message);
  return {};
}

Result<> NodeClient::renew(const std::string& freeze_id) {
  TRY_ASSIGN(const http::ClientResponse response,
             client_.request("POST", freeze_path(freeze_id) + "/renew",
                             to_text({{"ttl_ns", kFreezeTimeToLive}}), kMaxFreezeAnswer));
  if (response.status >= 400)
    return tl::make_unexpected(http::Client::error_of(response, "the node"));
  return {};
}

Result<> NodeClient::release(const std::string& freeze_id) {
  TRY_ASSIGN(const http::ClientResponse response,
             client_.request("DELETE", freeze_path(freeze_id), {}, kMaxShortAnswer));
  if (response.status >= 400 && response.status != 404)
    return tl::make_unexpected(http::Client::error_of(response, "the node"));
  return {};
}

Result<FetchedMember> NodeClient::fetch(const std::string& freeze_id, uint32_t index,
                                        uint64_t wire_limit, const std::atomic<bool>& cancelled) {
  FetchedMember member;
  TRY_ASSIGN(const http::ClientResponse response,
             client_.fetch("GET", fmt::format("{}/members/{}", freeze_path(freeze_id), index), {},
                           wire_limit, member.wire, &cancelled));
  switch (response.status) {
    case 200:
      return member;
    case 204:
      member.kind = FetchedMember::Kind::empty;
      return member;
    case 404:
      member.kind = FetchedMember::Kind::freeze_gone;
      return member;
    case 410:
      member.kind = FetchedMember::Kind::given_up;
      return member;
    default:
      break;
  }
  Error error = http::Client::error_of(response, "the node");
  if (response.status >= 500) error.kind = ErrorKind::unavailable;
  if (response.status < 400)
    error = {ErrorKind::corrupt, fmt::format("the node answers with status {}", response.status)};
  return tl::make_unexpected(std::move(error));
}

}  // namespace lookback::hub
