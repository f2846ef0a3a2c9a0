// Memory of many megabytes in huge pages: with them its first touch costs a fault for each 2 MiB, and not one for each
// 4 KiB, which takes longer than most of what is done with the memory. A system that has none to give gives small ones.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace rootloom {

inline constexpr size_t kHugePageBytes = 2 << 20;

// Asks for huge pages wherever they lie within memory that is not touched yet.
inline void PreferHugePages(void* memory, size_t size_bytes) {
  const auto start = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (start + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  const uintptr_t end = (start + size_bytes) / kHugePageBytes * kHugePageBytes;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}

// vector.reserve(count), in such memory. REQUIRES: vector is empty
template <typename T>
void ReserveLarge(std::vector<T>& vector, size_t count) {
  vector.reserve(count);
  PreferHugePages(vector.data(), count * sizeof(T));
}

// Memory for what is written once and read once.
class LargeBuffer {
 public:
  // Its content is undefined. Throws std::bad_alloc.
  explicit LargeBuffer(size_t size_bytes) : size_bytes_(size_bytes) {
    const size_t alignment = size_bytes < kHugePageBytes ? alignof(std::max_align_t) : kHugePageBytes;
    const size_t whole_bytes = (size_bytes + alignment - 1) / alignment * alignment;
    bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, whole_bytes)));
    if (bytes_ == nullptr && size_bytes > 0) throw std::bad_alloc();
    PreferHugePages(bytes_.get(), size_bytes);
  }

  std::span<std::byte> span() { return {bytes_.get(), size_bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };

  std::unique_ptr<std::byte, Free> bytes_;
  const size_t size_bytes_;
};

}  // namespace rootloom
