#pragma once
// What exports came to, for GET /api/v1/exports/{id}: HTTP/1.1 has no good place for it behind the
// stream. Kept for ten minutes, the newest kMost. Thread-safe.

#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <string>

#include "lookback/base/clock.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/result.hpp"
#include "lookback/exporter/exporter.hpp"

namespace lookback::hub {

class ExportLog {
 public:
  explicit ExportLog(const Clock& clock) : clock_(clock) {}
  void begin(const std::string& id);
  void end(const std::string& id, const Result<exporter::ExportStats>& outcome);
  [[nodiscard]] Result<Json> find(const std::string& id) const;

 private:
  static constexpr size_t kMost = 1024;
  static constexpr int64_t kKeptNs = 600LL * 1'000'000'000;
  struct Entry {
    Json object;
    int64_t at_ns = 0;
    std::list<std::string>::iterator place;
  };
  void put(const std::string& id, Json object);
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::list<std::string> order_;  // oldest first
  std::map<std::string, Entry> entries_;
};

}  // namespace lookback::hub
