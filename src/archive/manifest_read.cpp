// The manifest from JSON: nothing in it is believed before it was held against the rules of lookback-archive(5).
#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <set>

#include "archive/frame_entry.hpp"
#include "archive/member_entry.hpp"
#include "lookback/archive/frame.hpp"
#include "lookback/archive/limits.hpp"
#include "lookback/archive/node_json.hpp"
#include "lookback/archive/tar.hpp"
#include "lookback/base/json_fields.hpp"
#include "lookback/base/json_list.hpp"
#include "lookback/base/json_time.hpp"
#include "lookback/base/names.hpp"

namespace lookback::archive {

namespace {

constexpr size_t kMaxMembers = 10'000'000;
constexpr size_t kMaxMemberFrames = 65'536;
/// Far beyond any disk, and far from any overflow of sums.
constexpr uint64_t kMaxOffset = uint64_t{1} << 56;

Result<std::string> get_text(const Json& object, std::string_view key, size_t limit = kMaxText) {
  TRY_ASSIGN(std::string text, json_get<std::string>(object, key));
  if (text.size() > limit) return fail(ErrorKind::corrupt, "'{}' is longer than {} bytes", key, limit);
  return text;
}

Result<> check_arrays(const Json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (!object.contains(key) || !object.at(key).is_array()) return fail(ErrorKind::corrupt, "'{}' is missing or not an array", key);
  return {};
}

Result<std::string> network_from_json(const Json& network) {
  if (!network.is_string() || network.get_ref<const std::string&>().size() > kMaxText)
    return fail(ErrorKind::corrupt, "not a string of at most {} bytes", kMaxText);
  return network.get<std::string>();
}

/// The node as a manifest has it, with all that it must tell.
Result<NodeEntry> whole_node_from_json(const Json& json) {
  if (!json.is_object()) return fail(ErrorKind::corrupt, "not an object");
  for (const char* key : {"version", "status", "reason", "packets", "bytes"})
    if (!json.contains(key)) return fail(ErrorKind::corrupt, "'{}' is missing", key);
  TRY(check_arrays(json, {"gaps", "clock", "interfaces"}));
  TRY_ASSIGN(NodeEntry node, node_from_json(json));
  if (auto named = check_node_name(node.name); !named) return fail(ErrorKind::corrupt, "{}", named.error().message);
  if (node.status != "complete" && node.status != "partial" && node.status != "failed")
    return fail(ErrorKind::corrupt, "a node of status '{}'", node.status);
  return node;
}

Result<MemberEntry> entry_from_json(const Json& json) {
  MemberEntry member;
  TRY_ASSIGN(member.name, json_get<std::string>(json, "name"));
  TRY_ASSIGN(member.node, json_get<std::string>(json, "node"));
  TRY_ASSIGN(member.archive_offset, json_get<uint64_t>(json, "archive_offset"));
  TRY_ASSIGN(member.content_offset, json_get<uint64_t>(json, "content_offset"));
  TRY_ASSIGN(member.size, json_get<uint64_t>(json, "size"));
  TRY_ASSIGN(member.sha256, json_get<std::string>(json, "sha256"));
  TRY_ASSIGN(member.packets, json_get<uint64_t>(json, "packets"));
  const auto frames = json.find("frames");
  if (frames == json.end()) return fail(ErrorKind::corrupt, "'frames' is missing");
  TRY_ASSIGN(member.frames, frames_from_json(*frames, kMaxMemberFrames));
  TRY(check_member_entry(member));
  return member;
}

constexpr std::array<std::string_view, 11> kFields{"version", "name", "id", "created_by", "created", "window",
                                                   "ip_filter", "tags", "complete", "nodes", "members"};

class Reader {
 public:
  Result<Manifest> read(std::string_view text) {
    FieldHandlers handlers;
    handlers.field = [this](const std::string& key, Json&& value) { return field(key, value); };
    handlers.element = [this](const std::string& key, Json&& value) { return key == "nodes" ? node(value) : member(value); };
    handlers.is_streamed = [](const std::string& key) { return key == "nodes" || key == "members"; };
    handlers.is_unknown = [this](const std::string& key) {
      if (std::find(kFields.begin(), kFields.end(), key) == kFields.end()) return true;
      found_.insert(key);
      return false;
    };
    TRY(read_json_fields(text, handlers));
    for (const std::string_view key : kFields) {
      if (!found_.contains(key)) return fail(ErrorKind::corrupt, "'{}' is missing", key);
    }
    for (const MemberEntry& entry : manifest_.members) {
      if (!entry.node.empty() && !node_names_.contains(entry.node))
        return fail(ErrorKind::corrupt, "{} belongs to the node '{}', which the manifest does not know", entry.name, entry.node);
    }
    return std::move(manifest_);
  }

 private:
  Result<> field(const std::string& key, const Json& value) {
    const Json object{{key, value}};
    if (key == "version") {
      TRY_ASSIGN(manifest_.version, json_get<int>(object, key));
      if (manifest_.version != kManifestVersion)
        return fail(ErrorKind::failed, "the manifest is of version {}, this lookback reads version {}: use a newer one",
                    manifest_.version, kManifestVersion);
    } else if (key == "name") {
      TRY_ASSIGN(manifest_.name, json_get<std::string>(object, key));
      if (auto named = check_snapshot_name(manifest_.name); !named) return fail(ErrorKind::corrupt, "{}", named.error().message);
    } else if (key == "id") {
      TRY_ASSIGN(manifest_.id, get_text(object, key));
    } else if (key == "created_by") {
      TRY_ASSIGN(manifest_.created_by, get_text(object, key));
    } else if (key == "created") {
      TRY_ASSIGN(manifest_.created_ns, json_time(object, key));
    } else if (key == "window") {
      TRY_ASSIGN(manifest_.window, window_from_json(value));
    } else if (key == "ip_filter") {
      TRY(check_arrays(object, {"ip_filter"}));
      TRY_ASSIGN(manifest_.ip_filter, list_from_json(object, "ip_filter", kMaxNetworks, network_from_json));
    } else if (key == "tags") {
      if (!value.is_object() || value.size() > kMaxTags)
        return fail(ErrorKind::corrupt, "'tags' is not an object of at most {} texts", kMaxTags);
      for (const auto& [tag, text] : value.items()) {
        if (!text.is_string() || tag.size() > kMaxText || text.get_ref<const std::string&>().size() > kMaxReason)
          return fail(ErrorKind::corrupt, "the tag '{}' is not a string, or too long", tag.substr(0, 64));
        manifest_.tags[tag] = text.get<std::string>();
      }
    } else {
      TRY_ASSIGN(manifest_.complete, json_get<bool>(object, key));
    }
    return {};
  }

  Result<> node(const Json& json) {
    const size_t number = manifest_.nodes.size() + 1;
    if (number > kMaxNodes) return fail(ErrorKind::corrupt, "more than {} nodes", kMaxNodes);
    auto node = whole_node_from_json(json);
    if (!node) return tl::make_unexpected(node.error().in(fmt::format("node {}", number)));
    if (!node_names_.insert(node->name).second) return fail(ErrorKind::corrupt, "the node '{}' stands there twice", node->name);
    manifest_.nodes.push_back(std::move(*node));
    return {};
  }

  Result<> member(const Json& json) {
    const size_t number = manifest_.members.size() + 1;
    if (number > kMaxMembers) return fail(ErrorKind::corrupt, "more than {} members", kMaxMembers);
    auto member = entry_from_json(json);
    if (!member) return tl::make_unexpected(member.error().in(fmt::format("member {}", number)));
    if (!member_names_.insert(member->name).second)
      return fail(ErrorKind::corrupt, "the member {} stands there twice", member->name);
    if (member->archive_offset < next_archive_offset_ || member->content_offset < next_content_offset_ + kTarBlock)
      return fail(ErrorKind::corrupt, "the member {} overlaps the one before it", member->name);
    next_archive_offset_ = member->archive_offset + total_of(member->frames).compressed_bytes;
    next_content_offset_ = member->content_offset + member->size + tar_padding(member->size);
    manifest_.members.push_back(std::move(*member));
    return {};
  }

  Manifest manifest_;
  std::set<std::string, std::less<>> found_;
  std::set<std::string, std::less<>> node_names_, member_names_;
  uint64_t next_archive_offset_ = 1;  // a header frame goes before every content
  uint64_t next_content_offset_ = 0;
};

}  // namespace

Result<> check_member_entry(const MemberEntry& member) {
  TRY(check_member_name(member.name));
  if (member.name == kManifestName) return fail(ErrorKind::corrupt, "a member is called {}", kManifestName);
  if (!member.node.empty() && !member.name.starts_with(fmt::format("nodes/{}/", member.node)))
    return fail(ErrorKind::corrupt, "{} is not in the folder of its node '{}'", member.name, member.node);
  if (!is_sha256_text(member.sha256)) return fail(ErrorKind::corrupt, "the SHA-256 of {} is none", member.name);
  for (const FrameEntry& frame : member.frames) TRY(check_frame_entry(frame));
  const FrameTotals totals = total_of(member.frames);
  if (totals.content_bytes != member.size || totals.packets != member.packets)
    return fail(ErrorKind::corrupt, "the frames of {} do not add up to its size and packets", member.name);
  if (member.archive_offset > kMaxOffset || member.content_offset > kMaxOffset || member.content_offset % kTarBlock != 0)
    return fail(ErrorKind::corrupt, "{} stands at an impossible place", member.name);
  return {};
}

Result<Manifest> Manifest::from_json(std::string_view text) {
  auto manifest = Reader().read(text);
  if (!manifest) return tl::make_unexpected(manifest.error().in(kManifestName));
  return manifest;
}

Result<MemberEntry> member_from_json(std::string_view text) {
  TRY_ASSIGN(const Json json, parse_json(text, "the member entry"));
  return entry_from_json(json);
}

const NodeEntry* Manifest::find_node(std::string_view node_name) const {
  const auto at = std::find_if(nodes.begin(), nodes.end(), [&](const NodeEntry& node) { return node.name == node_name; });
  return at == nodes.end() ? nullptr : &*at;
}

namespace {

const ClockSample* sample_at(const std::vector<ClockSample>& samples, int64_t node_time_ns) {
  const auto at = std::find_if(samples.rbegin(), samples.rend(), [&](const ClockSample& sample) { return sample.time_ns <= node_time_ns; });
  if (at != samples.rend()) return &*at;
  return samples.empty() ? nullptr : &samples.front();
}

}  // namespace

int64_t clock_offset_at(const std::vector<ClockSample>& samples, int64_t node_time_ns) {
  const ClockSample* sample = sample_at(samples, node_time_ns);
  if (sample == nullptr) return 0;
  const bool within_error = sample->offset_ns <= sample->error_ns && sample->offset_ns >= -sample->error_ns;
  return within_error ? 0 : sample->offset_ns;
}

int64_t clock_error_at(const std::vector<ClockSample>& samples, int64_t node_time_ns) {
  const ClockSample* sample = sample_at(samples, node_time_ns);
  return sample == nullptr ? 0 : sample->error_ns;
}

}  // namespace lookback::archive
