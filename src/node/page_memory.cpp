#include "node/page_memory.hpp"

#include <sys/mman.h>

#include <cerrno>

namespace lookback::node {

PageMemory::~PageMemory() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

Result<PageMemory> PageMemory::allocate(size_t bytes) {
  void* const address =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return fail_errno(errno, "no memory for the write buffers");
  madvise(address, bytes, MADV_HUGEPAGE);  // only a hint
  PageMemory memory;
  memory.memory_ = {static_cast<std::byte*>(address), bytes};
  return memory;
}

void PageMemory::release(std::span<std::byte> pages) {
  madvise(pages.data(), pages.size(), MADV_DONTNEED);  // where it fails, the memory is only kept
}

}  // namespace lookback::node
