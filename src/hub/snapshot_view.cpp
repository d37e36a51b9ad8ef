#include "snapshot_view.hpp"

#include <algorithm>

#include "json_text.hpp"
#include "lookback/base/saturating.hpp"
#include "snapshot_job.hpp"
#include "snapshot_record.hpp"

namespace lookback::hub {

Json node_object(const archive::NodeEntry& node, uint64_t members_total, uint64_t members_done,
                 bool full) {
  Json object = {{"name", node.name},
                 {"version", node.version},
                 {"status", node.status},
                 {"reason", node.reason},
                 {"coverage", coverage_json(node.coverage)},
                 {"packets", node.packets},
                 {"bytes", node.bytes},
                 {"layers", layers_json(node.layers)},
                 {"members_total", members_total},
                 {"members_done", members_done},
                 {"losses_counted", node.losses_counted}};
  if (!full) return object;
  object["gaps"] = gaps_json(node.gaps);
  object["clock"] = clock_samples_json(node.clock);
  object["excluded"] = excluded_json(node.excluded);
  Json& interfaces = object["interfaces"] = Json::array();
  for (const archive::InterfaceEntry& one : node.interfaces)
    interfaces.push_back({{"name", one.name}, {"link_type", one.link_type}, {"mac", one.mac}});
  return object;
}

Json snapshot_object(const SnapshotFacts& facts, Json nodes, const SnapshotProgress& progress) {
  return {{"name", facts.name},
          {"id", facts.id},
          {"state", facts.state},
          {"complete", facts.complete},
          {"reason", facts.reason},
          {"from", time_json(facts.window.from_ns)},
          {"to", time_json(facts.window.to_ns)},
          {"created", facts.created_ns == 0 ? Json(nullptr) : time_json(facts.created_ns)},
          {"finished", facts.finished_ns == 0 ? Json(nullptr) : time_json(facts.finished_ns)},
          {"size_bytes", facts.size_bytes},
          {"content_bytes", facts.content_bytes},
          {"packets", facts.packets},
          {"tags", facts.tags},
          {"networks", facts.networks},
          {"location", "local"},
          {"nodes", std::move(nodes)},
          {"progress",
           {{"members_total", progress.members_total},
            {"members_done", progress.members_done},
            {"bytes_total", progress.bytes_total},
            {"bytes_done", progress.bytes_done},
            {"bytes_per_second", progress.bytes_per_second}}}};
}

namespace {

/// All but the nodes, whose members are counted in `members`.
Json published_facts(const archive::Manifest& manifest, const std::string& name,
                     uint64_t size_bytes, int64_t finished_ns,
                     std::map<std::string, uint64_t>& members) {
  SnapshotFacts facts;
  facts.name = name;
  facts.id = manifest.id;
  facts.state = "completed";
  facts.complete = manifest.complete;
  facts.window = manifest.window;
  facts.created_ns = manifest.created_ns;
  facts.finished_ns = finished_ns;
  facts.size_bytes = size_bytes;
  facts.tags = manifest.tags;
  facts.networks = manifest.ip_filter;
  for (const archive::MemberEntry& member : manifest.members) {
    saturate(facts.content_bytes, member.size);
    saturate(facts.packets, member.packets);
    ++members[member.node];
  }
  for (const archive::NodeEntry& node : manifest.nodes) {
    if (node.status != "complete" && facts.reason.empty())
      facts.reason = fmt::format("node {} is {}: {}", node.name, node.status, node.reason);
  }
  SnapshotProgress progress;
  progress.members_total = progress.members_done = manifest.members.size();
  progress.bytes_total = progress.bytes_done = facts.content_bytes;
  return snapshot_object(facts, Json::array(), progress);
}

}  // namespace

Json published_object(const archive::Manifest& manifest, const std::string& name,
                      uint64_t size_bytes, int64_t finished_ns) {
  std::map<std::string, uint64_t> members;
  Json object = published_facts(manifest, name, size_bytes, finished_ns, members);
  for (const archive::NodeEntry& node : manifest.nodes)
    object["nodes"].push_back(node_object(node, members[node.name], members[node.name], false));
  return object;
}

std::string published_text(const archive::Manifest& manifest, const std::string& name,
                           uint64_t size_bytes, int64_t finished_ns) {
  std::map<std::string, uint64_t> members;
  Json object = published_facts(manifest, name, size_bytes, finished_ns, members);
  object.erase("nodes");
  std::string text = to_text(object);
  text.resize(text.rfind('}'));
  text += ",\"nodes\":[";
  for (const archive::NodeEntry& node : manifest.nodes) {
    if (text.back() != '[') text += ',';
    text += to_text(node_object(node, members[node.name], members[node.name], true));
    text.pop_back();  // the line's end
  }
  text += "]}\n";
  return text;
}

Json SnapshotJob::object(bool full) const {
  SnapshotFacts facts;
  SnapshotProgress progress;
  Json nodes = Json::array();
  std::shared_ptr<MemberStore> store;
  {
    const std::lock_guard lock(mutex_);
    store = store_;
    facts.name = name_;
    facts.id = id_;
    facts.state = to_string(state_);
    if ((state_ == State::failed || state_ == State::gone) && error_)
      facts.reason = error_->message;
    facts.window = record_.window;
    facts.created_ns = record_.created_ns;
    facts.finished_ns = record_.finished_ns;
    facts.size_bytes = size_bytes_;
    facts.tags = record_.tags;
    facts.networks = record_.networks;
    facts.complete = state_ == State::completed;
    for (size_t i = 0; i < record_.nodes.size(); ++i) {
      archive::NodeEntry entry = record_.nodes[i].entry;
      TransferTotals totals;
      if (!transfers_.empty()) {
        totals = transfers_[i]->totals();
        const bool settled = !record_.nodes[i].frozen || totals.ended || state_ == State::completed;
        if (settled) {
          entry = final_entry(i);
        } else {
          entry.status = totals.started ? "transferring" : "frozen";
          entry.packets = totals.packets;
          entry.bytes = totals.content_bytes;
        }
      } else if (entry.status.empty()) {
        entry.status = record_.nodes[i].frozen ? "frozen" : "pending";
      }
      facts.complete = facts.complete && entry.status == "complete";
      saturate(facts.content_bytes, totals.content_bytes);
      saturate(facts.packets, totals.packets);
      progress.members_total += totals.members_total;
      progress.members_done += totals.members_done;
      saturate(progress.bytes_total, totals.bound_total);
      saturate(progress.bytes_done, totals.bound_done);
      nodes.push_back(node_object(entry, totals.members_total, totals.members_done, full));
    }
    if (transfer_started_ns_ != 0) {
      const double seconds =
          static_cast<double>(env_.clock.monotonic_ns() - transfer_started_ns_) / 1e9;
      if (seconds > 0 && state_ == State::in_progress)
        progress.bytes_per_second = static_cast<double>(progress.bytes_done) / seconds;
    }
  }
  if (store) facts.size_bytes = store->bytes_written();
  return snapshot_object(facts, std::move(nodes), progress);
}

}  // namespace lookback::hub
