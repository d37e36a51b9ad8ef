#include "transfer.hpp"

#include <algorithm>

#include "lookback/archive/member_kind.hpp"
#include "lookback/base/log.hpp"
#include "lookback/exporter/member_bounds.hpp"
#include "node_calls.hpp"

namespace lookback::hub {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {


/// What a member's wire form may take, by what the node announced: that bounds what a node can make
/// the hub hold. Content that does not compress, the header, and some leeway, for the announcement
/// is an estimate.
uint64_t wire_limit(const FrozenMember& member) {
  return archive::kMaxMemberHeader +
         std::min(archive::kMaxMemberContent,
                  member.content_bytes + member.content_bytes / 4 + (2 << 20));
}

}  // namespace

NodeTransfer::NodeTransfer(const NodeRecord& node, std::string freeze_id, int64_t deadline_ns)
    : node_(node),
      freeze_id_(std::move(freeze_id)),
      deadline_(deadline_ns),
      states_(node.members.size(), State::waiting),
      lost_(node.members.size()) {
  for (size_t i = 0; i < node.members.size(); ++i) {
    ++totals_.members_total;
    totals_.bound_total += node.members[i].content_bytes;
    if (!node.members[i].given_up) continue;
    states_[i] = State::done;
    lost_[i] = GapReason::freeze_quota;
    ++totals_.members_done;
    ++totals_.given_up;
    totals_.bound_done += node.members[i].content_bytes;
  }
}

bool NodeTransfer::restore(const JournalLine& line) {
  const auto it = std::lower_bound(
      node_.members.begin(), node_.members.end(), line.index,
      [](const FrozenMember& member, uint32_t index) { return member.index < index; });
  if (it == node_.members.end() || it->index != line.index) return false;
  const auto position = static_cast<size_t>(it - node_.members.begin());
  if (states_[position] == State::done) return false;
  finish(position, line.outcome, line.reason, line.member ? line.member->packets : 0,
         line.member ? line.member->size : 0);
  return true;
}

std::optional<size_t> NodeTransfer::take() {
  const std::lock_guard lock(mutex_);
  if (!totals_.started) {
    totals_.started = true;
    last_progress_ = steady_clock::now();
  }
  if (totals_.given_up_because) return std::nullopt;
  while (cursor_ < states_.size() && states_[cursor_] != State::waiting) ++cursor_;
  if (cursor_ == states_.size()) return std::nullopt;
  states_[cursor_] = State::fetching;
  return cursor_++;
}

void NodeTransfer::put_back(size_t position) {
  const std::lock_guard lock(mutex_);
  states_[position] = State::waiting;
  cursor_ = std::min(cursor_, position);
}

void NodeTransfer::finish(size_t position, MemberOutcome outcome, const std::string& reason,
                          uint64_t packets, uint64_t content_bytes) {
  const std::lock_guard lock(mutex_);
  states_[position] = State::done;
  ++totals_.members_done;
  totals_.bound_done += node_.members[position].content_bytes;
  last_progress_ = steady_clock::now();
  switch (outcome) {
    case MemberOutcome::stored:
      ++totals_.stored;
      totals_.packets += packets;
      totals_.content_bytes += content_bytes;
      break;
    case MemberOutcome::empty:
      break;
    case MemberOutcome::given_up:
      lost_[position] = GapReason::freeze_quota;
      ++totals_.given_up;
      break;
    case MemberOutcome::dropped:
      lost_[position] = GapReason::damaged_member;
      ++totals_.dropped;
      if (totals_.first_drop.empty())
        totals_.first_drop = fmt::format("member {}: {}", node_.members[position].index, reason);
      break;
  }
}

void NodeTransfer::give_up(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!totals_.given_up_because) totals_.given_up_because = reason;
}

bool NodeTransfer::past_deadline() const {
  const std::lock_guard lock(mutex_);
  return steady_clock::now() - last_progress_ > deadline_;
}

TransferTotals NodeTransfer::totals() const {
  const std::lock_guard lock(mutex_);
  TransferTotals totals = totals_;
  totals.ended = totals.members_done == totals.members_total || totals.given_up_because.has_value();
  return totals;
}

std::vector<LostMember> NodeTransfer::lost() const {
  const std::lock_guard lock(mutex_);
  std::vector<LostMember> lost;
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i] != State::done)
      lost.push_back({node_.members[i], GapReason::not_transferred});
    else if (lost_[i])
      lost.push_back({node_.members[i], *lost_[i]});
  }
  return lost;
}

void NodeTransfer::run(MemberSink& sink, TransferSlots& slots, const NodeAccess& access) {
  std::optional<NodeClient> client;
  archive::MemberChecker checker;
  while (!sink.ended()) {
    const auto position = take();
    if (!position) return;
    if (!transfer_member(*position, sink, slots, access, client, checker)) {
      put_back(*position);
      return;
    }
  }
}

Result<FetchedMember> NodeTransfer::fetch(size_t position, MemberSink& sink,
                                          const NodeAccess& access,
                                          std::optional<NodeClient>& client) {
  if (!client) {
    TRY_ASSIGN(client, NodeClient::create(access, node_.entry.name, sink.place_of(node_), deadline_.count()));
  }
  const FrozenMember& member = node_.members[position];
  return client->fetch(freeze_id_, member.index, wire_limit(member), sink.ended());
}

bool NodeTransfer::transfer_member(size_t position, MemberSink& sink, TransferSlots& slots,
                                   const NodeAccess& access, std::optional<NodeClient>& client,
                                   archive::MemberChecker& checker) {
  const uint32_t index = node_.members[position].index;
  const auto settle = [&](MemberOutcome outcome, const std::string& reason) {
    if (outcome == MemberOutcome::dropped)
      log_warning("member {} of node {} is left out of the snapshot: {}", index, node_.entry.name,
                  reason);
    sink.note(node_, index, outcome, reason);
    finish(position, outcome, reason, 0, 0);
    return true;
  };
  milliseconds pause = kFirstPause;
  bool tried_again = false;
  for (;;) {
    if (sink.ended()) return false;
    Error error;
    {
      const TransferSlots::Slot slot(slots, node_.entry.name, deadline_, sink.ended());
      if (!slot.taken()) {
        if (!sink.ended()) give_up("the node's other transfers hold this one up");
        return false;
      }
      auto fetched = fetch(position, sink, access, client);
      Result<archive::MemberContent> member;
      if (fetched && fetched->kind == FetchedMember::Kind::empty)
        return settle(MemberOutcome::empty, "");
      if (fetched && fetched->kind == FetchedMember::Kind::given_up)
        return settle(MemberOutcome::given_up, "");
      if (fetched && fetched->kind == FetchedMember::Kind::freeze_gone) {
        give_up("the node no longer has the frozen window");
        return false;
      }
      if (fetched) {
        member = archive::decode_member(std::move(fetched->wire));
      } else {
        member = tl::make_unexpected(fetched.error());
      }
      exporter::MemberBounds bounds;
      archive::FrameVisitor visit;
      if (archive::info_of(node_.members[position].kind).has_packets)
        visit = [&](const archive::FrameEntry& frame, std::span<const std::byte> content) {
          return bounds.check(frame, content);
        };
      Result<> done =
          member ? checker.check(*member, visit) : Result<>(tl::make_unexpected(member.error()));
      if (done) done = sink.store(node_, index, *member);
      if (done) {
        finish(position, MemberOutcome::stored, "", member->packets, member->size);
        return true;
      }
      error = done.error();
    }
    switch (error.kind) {
      case ErrorKind::corrupt:
      case ErrorKind::invalid:
      case ErrorKind::conflict:
      case ErrorKind::not_found:
        // A byte may have been changed on the way; a second time it is the node's doing.
        if (tried_again) return settle(MemberOutcome::dropped, error.message);
        tried_again = true;
        client.reset();
        continue;
      case ErrorKind::unauthorized:
        give_up("the node refuses the hub's token: " + error.message);
        return false;
      case ErrorKind::unreachable:
      case ErrorKind::unavailable:
        client.reset();
        if (past_deadline()) {
          give_up(error.message);
          return false;
        }
        sink.pause(pause);
        pause = std::min(pause * 2, kLongestPause);
        continue;
      case ErrorKind::failed:
      case ErrorKind::no_space:
      case ErrorKind::cancelled:
        // Where the hub's own side failed, the snapshot has ended and says why itself.
        if (!sink.ended()) give_up(error.message);
        return false;
    }
  }
}

}  // namespace lookback::hub
