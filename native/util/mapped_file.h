// MappedFile: a file's bytes as memory, for system calls to take them from.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <utility>

namespace rootloom {

// Owns the mapping, which needs no descriptor to stay.
//
// The bytes are not for the process itself to look at. A page that the file has lost, or that its disk cannot give,
// raises a signal in whoever touches it; in a system call that only reads it, that is EFAULT.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile() {
    if (!bytes_.empty()) ::munmap(address(), bytes_.size());
  }

  // Maps the front of a file; empty when the system refuses. Of what is touched, only some pages around it become
  // resident, and not the whole of a huge page, so that a few scattered bytes do not look like gigabytes.
  static MappedFile Map(int fd, size_t size_bytes) {
    MappedFile mapped;
    void* const address = ::mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) return mapped;
    mapped.bytes_ = {static_cast<const std::byte*>(address), size_bytes};
    ::madvise(address, size_bytes, MADV_NOHUGEPAGE);
    return mapped;
  }

  std::span<const std::byte> bytes() const { return bytes_; }

  // Gives back the address space's hold on all pages. They stay in the page cache, and the bytes can be used as before.
  void Forget() const { ::madvise(address(), bytes_.size(), MADV_DONTNEED); }

 private:
  void* address() const { return const_cast<std::byte*>(bytes_.data()); }

  std::span<const std::byte> bytes_;
};

}  // namespace rootloom
