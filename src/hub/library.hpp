#pragma once
// The published archives. A few facts of each are kept in memory; what lists show of it lies in
// heads/NAME.json, so that neither a start nor a list reads manifests; all of it comes from the
// archive when somebody asks. Only regular files of the folder itself count. An archive that cannot
// be opened is listed as failed, with the reason. Thread-safe.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "hub_paths.hpp"
#include "lookback/archive/reader.hpp"
#include "lookback/archive/snapshot.hpp"

namespace lookback::hub {

class Library {
 public:
  explicit Library(HubPaths paths) : paths_(std::move(paths)) {}

  /// Looks through DIR/snapshots; later calls find what came and went.
  void scan();
  /// Takes in an archive that was just published.
  void add(const std::string& name, int64_t finished_ns);
  /// not_found
  [[nodiscard]] Result<> remove(const std::string& name);

  struct Entry {
    std::string name, id;
    archive::Location location = archive::Location::local;
    uint64_t size_bytes = 0;
    bool damaged = false;
    bool complete = false;
    int64_t finished_ns = 0;
    std::string reason;  ///< why damaged
  };
  [[nodiscard]] bool contains(const std::string& name) const;
  [[nodiscard]] std::optional<Entry> find(const std::string& name) const;
  [[nodiscard]] std::vector<std::shared_ptr<const Entry>> entries() const;  ///< by name
  /// The snapshot for a list (NodeDetail::brief), and the whole one. not_found where it has gone meanwhile.
  [[nodiscard]] Result<archive::Snapshot> brief(const std::string& name);
  [[nodiscard]] Result<archive::Snapshot> full(const std::string& name);
  [[nodiscard]] uint64_t total_bytes() const;
  /// The archive's bytes, wherever they lie. not_found; corrupt: something else stands in the place of the file.
  [[nodiscard]] Result<std::shared_ptr<const archive::ByteSource>> source(const std::string& name) const;
  /// A reader of the archive; several exports of one snapshot share it while one of them lives.
  [[nodiscard]] Result<std::shared_ptr<archive::ArchiveReader>> open(const std::string& name);

 private:
  [[nodiscard]] Result<archive::Snapshot> look(const std::string& name, int64_t finished_ns, bool use_head) const;
  [[nodiscard]] std::shared_ptr<const Entry> load(const std::string& name, int64_t finished_ns,
                                                  bool use_head) const;
  void put(std::shared_ptr<const Entry> entry);

  const HubPaths paths_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const Entry>> entries_;
  std::map<std::string, std::weak_ptr<archive::ArchiveReader>> readers_;
  uint64_t total_bytes_ = 0;
};

}  // namespace lookback::hub
