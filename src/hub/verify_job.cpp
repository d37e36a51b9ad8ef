#include "verify_job.hpp"

#include "lookback/archive/verify.hpp"
#include "lookback/base/json.hpp"
#include "lookback/exporter/member_bounds.hpp"

namespace lookback::hub {

namespace {

Result<std::string> verify(const archive::ByteSource& archive, const JobControl& control) {
  const auto progress = [&](uint64_t done, uint64_t total) { control.progress(done, total); };
  TRY_ASSIGN(const archive::VerifyReport report,
             archive::verify_archive(archive, progress, &control.cancelled(), exporter::bounds_visitor()));
  return dump_json({{"members", report.members}, {"content_bytes", report.content_bytes}, {"file_bytes", report.file_bytes}});
}

}  // namespace

JobKind verify_job_kind(const Library& library) {
  // One at a time: the disk is the limit.
  return {.name = kVerify, .is_kept = true, .run = [&library](const Job& job, const JobControl& control) -> Result<std::string> {
            TRY_ASSIGN(const auto archive, library.source(job.subject));
            return verify(*archive, control);
          }};
}

}  // namespace lookback::hub
