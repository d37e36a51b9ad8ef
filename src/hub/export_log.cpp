#include "export_log.hpp"

namespace lookback::hub {

void ExportLog::put(const std::string& id, Json object) {
  const std::lock_guard lock(mutex_);
  const int64_t now = clock_.monotonic_ns();
  if (const auto it = entries_.find(id); it != entries_.end()) {
    order_.erase(it->second.place);
    entries_.erase(it);
  }
  while (!order_.empty() &&
         (order_.size() >= kMost || now - entries_.at(order_.front()).at_ns > kKeptNs)) {
    entries_.erase(order_.front());
    order_.pop_front();
  }
  order_.push_back(id);
  entries_.emplace(id, Entry{std::move(object), now, std::prev(order_.end())});
}

void ExportLog::begin(const std::string& id) {
  put(id, {{"state", "running"}});
}

void ExportLog::end(const std::string& id, const Result<exporter::ExportStats>& outcome) {
  if (!outcome) return put(id, {{"state", "failed"}, {"error", outcome.error().message}});
  put(id, {{"state", "done"},
           {"packets_read", outcome->packets_read},
           {"packets_written", outcome->packets_written},
           {"bytes_written", outcome->bytes_written},
           {"duplicates_dropped", outcome->duplicates_dropped},
           {"frames_read", outcome->frames_read},
           {"frames_skipped", outcome->frames_skipped},
           {"dedup_evictions", outcome->dedup_evictions},
           {"complete", outcome->complete},
           {"warnings", outcome->warnings}});
}

Result<Json> ExportLog::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(id);
  if (it == entries_.end() || clock_.monotonic_ns() - it->second.at_ns > kKeptNs)
    return fail(ErrorKind::not_found, "there is no export {}, or it is longer ago than ten minutes",
                id);
  return it->second.object;
}

}  // namespace lookback::hub
