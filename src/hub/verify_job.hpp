#pragma once
// The kind of job that holds every byte of a published archive against its manifest. Subject: the snapshot's name. Result:
// {"members", "content_bytes", "file_bytes"}.

#include "jobs.hpp"
#include "library.hpp"

namespace lookback::hub {

inline constexpr const char* kVerify = "verify";

/// `library` outlives the jobs.
[[nodiscard]] JobKind verify_job_kind(const Library& library);

}  // namespace lookback::hub
