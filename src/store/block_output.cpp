#include "store/block_output.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"

namespace lookback::store {

namespace {
/// The kernel's limit for one fixed buffer.
constexpr size_t kMaxFixedBuffer = 1ULL << 30;
}  // namespace

struct BlockOutput::Ring {
  io_uring ring{};
  pid_t thread = 0;
  bool set_up = false;
  bool registered = false;

  ~Ring() {
    if (set_up) io_uring_queue_exit(&ring);
  }
};

BlockOutput::BlockOutput(bool use_io_uring) : use_io_uring_(use_io_uring) {}
BlockOutput::~BlockOutput() = default;

void BlockOutput::register_memory(std::span<std::byte> memory) {
  for (; !memory.empty(); memory = memory.subspan(std::min(memory.size(), kMaxFixedBuffer)))
    regions_.push_back(memory.first(std::min(memory.size(), kMaxFixedBuffer)));
  regions_changed_ = true;
}

void BlockOutput::prepare_ring() {
  thread_local const pid_t thread = ::gettid();
  if (ring_ && ring_->thread != thread) {
    ring_.reset();
    regions_changed_ = true;
  }
  if (!ring_) {
    auto ring = std::make_unique<Ring>();
    int status = -EINVAL;
    // Newest first: completions are run by the waiting thread itself, without interrupting it.
    for (const unsigned flags :
         {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0U}) {
      io_uring_params parameters{};
      parameters.flags = flags;
      status = io_uring_queue_init_params(4, &ring->ring, &parameters);
      if (status != -EINVAL) break;
    }
    if (status < 0) {
      log_info("writing without io_uring: the kernel refuses it ({})", std::strerror(-status));
      use_io_uring_ = false;
      return;
    }
    ring->set_up = true;
    ring->thread = thread;
    ring_ = std::move(ring);
  }
  if (regions_changed_) {
    regions_changed_ = false;
    if (ring_->registered) io_uring_unregister_buffers(&ring_->ring);
    ring_->registered = false;
    if (regions_.empty()) return;
    std::vector<iovec> vectors;
    vectors.reserve(regions_.size());
    for (const auto region : regions_) vectors.push_back({region.data(), region.size()});
    const int status = io_uring_register_buffers(&ring_->ring, vectors.data(),
                                                 static_cast<unsigned>(vectors.size()));
    ring_->registered = status == 0;
    if (status < 0) {
      log_info(
          "writing from unregistered memory: {} (raise the memlock limit to save some processor "
          "time)",
          std::strerror(-status));
    }
  }
}

Result<> BlockOutput::write(int fd, std::span<const std::byte> data, uint64_t offset,
                            bool drop_cache) {
  if (use_io_uring_) prepare_ring();
  if (use_io_uring_) {
    TRY(write_ring(fd, data, offset));
  } else {
    TRY(pwrite_all(fd, data, offset));
  }
  if (drop_cache) {
    // What was started at the last call has been written by now and can go; this one is started.
    ::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(data.size()),
                      SYNC_FILE_RANGE_WRITE);
    ::posix_fadvise(fd, 0, static_cast<off_t>(offset), POSIX_FADV_DONTNEED);
  }
  return {};
}

Result<> BlockOutput::write_ring(int fd, std::span<const std::byte> data, uint64_t offset) {
  int buffer = -1;
  if (ring_->registered) {
    for (size_t i = 0; i < regions_.size() && buffer < 0; ++i) {
      const auto region = regions_[i];
      if (data.data() >= region.data() &&
          data.data() + data.size() <= region.data() + region.size())
        buffer = static_cast<int>(i);
    }
  }
  io_uring_sqe* entry = io_uring_get_sqe(&ring_->ring);
  LOOKBACK_CHECK(entry != nullptr);  // one write is in flight at most
  const auto size = static_cast<unsigned>(data.size());
  if (buffer >= 0) {
    io_uring_prep_write_fixed(entry, fd, data.data(), size, offset, buffer);
  } else {
    io_uring_prep_write(entry, fd, data.data(), size, offset);
  }
  io_uring_cqe* completion = nullptr;
  int status;
  do {
    status = io_uring_submit_and_wait(&ring_->ring, 1);
  } while (status == -EINTR);
  if (status >= 0) {
    do {
      status = io_uring_wait_cqe(&ring_->ring, &completion);
    } while (status == -EINTR);
  }
  if (status < 0) {
    log_warning("io_uring fails ({}), going on with pwrite", std::strerror(-status));
    ring_.reset();  // takes back whatever was submitted
    use_io_uring_ = false;
    return pwrite_all(fd, data, offset);
  }
  const int written = completion->res;
  io_uring_cqe_seen(&ring_->ring, completion);
  if (written < 0 && written != -EAGAIN && written != -EINTR) return fail_errno(-written, "write");
  const size_t done = written > 0 ? static_cast<size_t>(written) : 0;
  // A short write goes on in the plain way; when the disk is full that says so.
  if (done < data.size()) return pwrite_all(fd, data.subspan(done), offset + done);
  return {};
}

}  // namespace lookback::store
