// LargeBuffer: memory for what is written once and read once, and may be tens of megabytes.
//
// It asks for huge pages: with them the first touch of memory costs a fault for each 2 MiB, and not one for each 4 KiB,
// which takes as long as unpacking what goes there. A system that has none to give gives small ones.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace rootloom {

class LargeBuffer {
 public:
  // Its content is undefined. Throws std::bad_alloc.
  explicit LargeBuffer(size_t size_bytes) : size_bytes_(size_bytes) {
    const size_t alignment = size_bytes < kHugePageBytes ? alignof(std::max_align_t) : kHugePageBytes;
    const size_t whole_bytes = (size_bytes + alignment - 1) / alignment * alignment;
    bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, whole_bytes)));
    if (bytes_ == nullptr && size_bytes > 0) throw std::bad_alloc();
    if (alignment == kHugePageBytes) ::madvise(bytes_.get(), whole_bytes, MADV_HUGEPAGE);
  }

  std::span<std::byte> span() { return {bytes_.get(), size_bytes_}; }

 private:
  static constexpr size_t kHugePageBytes = 2 << 20;
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };

  std::unique_ptr<std::byte, Free> bytes_;
  const size_t size_bytes_;
};

}  // namespace rootloom
