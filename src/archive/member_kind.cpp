#include "lookback/archive/member_kind.hpp"

#include <algorithm>

#include "lookback/base/result.hpp"

namespace lookback::archive {

const MemberKindInfo& info_of(MemberKind kind) {
  const auto found = std::find_if(kMemberKinds.begin(), kMemberKinds.end(), [&](const MemberKindInfo& one) { return one.kind == kind; });
  LOOKBACK_CHECK(found != kMemberKinds.end());
  return *found;
}

std::optional<MemberKind> member_kind(std::string_view name) {
  const auto found = std::find_if(kMemberKinds.begin(), kMemberKinds.end(), [&](const MemberKindInfo& one) { return one.name == name; });
  return found == kMemberKinds.end() ? std::nullopt : std::optional(found->kind);
}

MemberKind kind_of_index(uint32_t index) {
  MemberKind kind = kMemberKinds.front().kind;
  for (const MemberKindInfo& one : kMemberKinds)
    if (one.first_index <= index) kind = one.kind;
  return kind;
}

uint32_t most_members(MemberKind kind) {
  const MemberKindInfo& info = info_of(kind);
  uint32_t end = kMaxMemberIndex + 1;
  for (const MemberKindInfo& one : kMemberKinds)
    if (one.first_index > info.first_index) end = std::min(end, one.first_index);
  return end - info.first_index;
}

std::string member_path(MemberKind kind, std::string_view node, uint64_t number) {
  const MemberKindInfo& info = info_of(kind);
  return fmt::format("nodes/{}/{}/{:08}{}", node, info.folder, number, info.suffix);
}

std::optional<MemberKind> kind_of(const MemberEntry& member) {
  std::string_view rest = member.name;
  const auto take = [&](std::string_view part) {
    const bool found = rest.starts_with(part) && rest.substr(part.size()).starts_with('/');
    if (found) rest.remove_prefix(part.size() + 1);
    return found;
  };
  if (member.node.empty() || !take("nodes") || !take(member.node)) return std::nullopt;
  for (const MemberKindInfo& one : kMemberKinds)
    if (rest.ends_with(one.suffix) && take(one.folder)) return one.kind;
  return std::nullopt;
}

}  // namespace lookback::archive
