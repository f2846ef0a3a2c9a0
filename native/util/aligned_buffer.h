// AlignedBuffer: memory that may be written to a file past the page cache.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace rootloom {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  size_t size() const { return size_; }
  std::byte* data() { return bytes_.get(); }
  std::span<std::byte> span() { return {bytes_.get(), size_}; }

  // Makes room for at least size bytes, whose content is undefined. Throws std::bad_alloc.
  void Reserve(size_t size) {
    if (size <= size_) return;
    size = (size + kAlignment - 1) / kAlignment * kAlignment;
    bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size)));
    size_ = bytes_ == nullptr ? 0 : size;
    if (bytes_ == nullptr) throw std::bad_alloc();
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  size_t size_ = 0;
};

}  // namespace rootloom
