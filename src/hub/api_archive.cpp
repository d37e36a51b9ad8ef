// Archives as files: download with ranges, and import.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "api.hpp"
#include "json_text.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/log.hpp"
#include "lookback/exporter/member_bounds.hpp"
#include "lookback/http/range.hpp"

namespace lookback::hub {

namespace {

constexpr size_t kChunk = 1 << 20;
/// An import claims room in such steps, so that a full disk is seen before it is full.
constexpr uint64_t kRoomStep = 64ULL << 20;

Result<> send(const archive::ByteSource& source, uint64_t offset, uint64_t bytes, const http::BodyWriter& write) {
  std::vector<std::byte> buffer(std::min<uint64_t>(kChunk, bytes));
  while (bytes > 0) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), bytes));
    TRY(source.read_at(part, offset));
    TRY(write(part));
    offset += part.size();
    bytes -= part.size();
  }
  return {};
}

http::Response download(http::Request& request, ApiContext& context) {
  const std::string& name = request.parameters.at("name");
  const auto entry = context.library.find(name);
  if (!entry) {
    const auto known = context.snapshots.show(name);
    if (!known) return http::Response::problem(known.error());
    return http::Response::problem(
        {ErrorKind::conflict, fmt::format("snapshot {} has no archive (yet)", name)});
  }
  if (entry->damaged && request.query_value("damaged").value_or("0") != "1") {
    return http::Response::problem(
        {ErrorKind::corrupt,
         fmt::format("snapshot {} is damaged ({}): delete it, or ask for what there is of it with "
                     "--damaged",
                     name, entry->reason)});
  }
  const auto opened = context.library.source(name);
  if (!opened) return http::Response::problem(opened.error());
  const auto source = *opened;
  const uint64_t size = source->size();
  http::Response response;
  response.content_type = "application/zstd";
  const std::string etag = entry->id.empty() ? std::string() : "\"" + entry->id + "\"";
  if (!etag.empty()) response.headers["ETag"] = etag;
  response.headers["Accept-Ranges"] = "bytes";
  response.headers["Content-Disposition"] =
      fmt::format("attachment; filename=\"{}{}\"", name, kArchiveSuffix);
  if (const std::string known = request.header("if-none-match");
      !etag.empty() && (known == etag || known == "*")) {
    response.status = 304;
    return response;
  }
  std::string range_text = request.header("range");
  if (const std::string wanted = request.header("if-range"); !wanted.empty() && wanted != etag)
    range_text.clear();
  const auto range = http::parse_range(range_text, size);
  if (!range) {
    http::Response problem = http::Response::problem(range.error(), 416);
    problem.headers["Content-Range"] = fmt::format("bytes */{}", size);
    return problem;
  }
  uint64_t first = 0, bytes = size;
  if (*range) {
    first = (*range)->first;
    bytes = (*range)->size();
    response.status = 206;
    response.headers["Content-Range"] = fmt::format("bytes {}-{}/{}", first, (*range)->last, size);
  }
  response.content_length = bytes;
  response.stream = [source, first, bytes](const http::BodyWriter& write) {
    return send(*source, first, bytes, write);
  };
  return response;
}

/// A folder that goes when the import is over, whatever came of it.
class ImportFolder {
 public:
  ImportFolder(ApiContext& context, std::string id) : context_(context), id_(std::move(id)) {}
  ~ImportFolder() {
    context_.budget.release(id_);
    std::error_code ec;
    std::filesystem::remove_all(path(), ec);
  }
  ImportFolder(const ImportFolder&) = delete;
  ImportFolder& operator=(const ImportFolder&) = delete;
  [[nodiscard]] std::filesystem::path path() const { return context_.paths.import(id_); }
  [[nodiscard]] std::filesystem::path file() const { return path() / "archive.partial"; }
  [[nodiscard]] const std::string& id() const { return id_; }

 private:
  ApiContext& context_;
  const std::string id_;
};

Result<> spool(http::Request& request, ApiContext& context, const ImportFolder& folder) {
  if (request.content_length)
    TRY(context.budget.reserve(folder.id(), *request.content_length));
  TRY(make_directories(folder.path(), 0700));
  TRY_ASSIGN(const Fd fd, open_file(folder.file(), O_WRONLY | O_CREAT | O_EXCL, 0600));
  std::vector<std::byte> buffer(kChunk);
  uint64_t written = 0, room = 0;
  for (;;) {
    TRY_ASSIGN(const size_t n, request.read_body(buffer));
    if (n == 0) break;
    if (written + n > room) {
      TRY(context.budget.grow(folder.id(), kRoomStep));
      room += kRoomStep;
    }
    TRY(write_all(fd.get(), std::span(buffer).first(n)));
    written += n;
  }
  if (::fsync(fd.get()) != 0) return fail_errno(errno, folder.file().string());
  if (::fchmod(fd.get(), 0400) != 0) return fail_errno(errno, folder.file().string());
  return {};
}

Result<archive::Snapshot> import_archive(http::Request& request, ApiContext& context) {
  const std::string name = request.query_value("name").value_or(request.parameters.at("name"));
  TRY_ASSIGN(const auto claim, context.snapshots.claim(name));
  const ImportFolder folder(context, random_hex(8));
  TRY(spool(request, context, folder));
  const auto verified = archive::verify_archive(folder.file(), {}, &context.stopping, exporter::bounds_visitor());
  if (!verified) {
    if (verified.error().kind == ErrorKind::cancelled) return tl::make_unexpected(verified.error());
    const std::string file = request.query_value("file").value_or("the file");
    return fail(ErrorKind::corrupt, "{} is not an intact snapshot archive: {}", file,
                verified.error().message);
  }
  TRY(rename_exclusively(folder.file(), context.paths.archive(name)));
  TRY(sync_directory(context.paths.snapshots()));
  context.library.add(name, context.clock.realtime_ns());
  log_info("snapshot {} was imported: {} members, {} bytes", name, verified->members,
           verified->file_bytes);
  context.snapshots.announce("snapshot", name, "completed");
  return context.snapshots.show(name);
}

http::Response take_archive(http::Request& request, ApiContext& context) {
  const auto imported = import_archive(request, context);
  if (!imported) return http::Response::problem(imported.error());
  return http::Response::json(archive::snapshot_to_text(*imported, archive::NodeDetail::full), 201);
}

using http::Role, http::RunsOn;

const ApiRoute kArchiveRoutes[] = {
    {"GET", "/api/v1/snapshots/{name}/archive", Role::client, RunsOn::worker, "Downloads a snapshot's archive.", download},
    {"POST", "/api/v1/snapshots/{name}/import", Role::client, RunsOn::transfer, "Takes an archive as a snapshot.", take_archive,
     {.body_types = {"application/octet-stream", "application/zstd"}}},
};

}  // namespace

ApiTable archive_routes() {
  return kArchiveRoutes;
}

}  // namespace lookback::hub
