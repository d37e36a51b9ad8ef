#pragma once
// Where everything is in the hub's data directory.

#include <filesystem>
#include <string>

namespace lookback::hub {

inline constexpr std::string_view kArchiveSuffix = ".tar.zst";

struct HubPaths {
  std::filesystem::path root;

  [[nodiscard]] std::filesystem::path lock() const { return root / "lock"; }
  [[nodiscard]] std::filesystem::path hub() const { return root / "hub.json"; }
  [[nodiscard]] std::filesystem::path nodes() const { return root / "nodes.json"; }
  [[nodiscard]] std::filesystem::path snapshots() const { return root / "snapshots"; }
  [[nodiscard]] std::filesystem::path archive(const std::string& name) const {
    return snapshots() / (name + std::string(kArchiveSuffix));
  }
  [[nodiscard]] std::filesystem::path heads() const { return root / "heads"; }
  [[nodiscard]] std::filesystem::path head(const std::string& name) const {
    return heads() / (name + ".json");
  }
  [[nodiscard]] std::filesystem::path jobs() const { return root / "jobs"; }
  [[nodiscard]] std::filesystem::path job(const std::string& name) const { return jobs() / name; }
  /// Records of other long work than the making of snapshots.
  [[nodiscard]] std::filesystem::path work() const { return root / "work"; }
  [[nodiscard]] std::filesystem::path job_file(const std::string& name) const {
    return job(name) / "job.json";
  }
  [[nodiscard]] std::filesystem::path journal(const std::string& name) const {
    return job(name) / "journal.ndjson";
  }
  [[nodiscard]] std::filesystem::path partial(const std::string& name) const {
    return job(name) / "archive.partial";
  }
  /// A folder of an import; the dot keeps it apart from every snapshot's.
  [[nodiscard]] std::filesystem::path import(const std::string& id) const {
    return jobs() / (".import-" + id);
  }
};

}  // namespace lookback::hub
