// BlockWriter: writes what comes in order of place as few large writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/ext4/filesystem.h"

namespace rootloom {

// Not thread-safe. filesystem must outlive it. What was not flushed is dropped.
class BlockWriter {
 public:
  explicit BlockWriter(Filesystem& filesystem) : filesystem_(filesystem) {}

  // Puts data at a byte of the device; it is written with what follows on it, by a later Put or by Flush.
  Status Put(uint64_t offset_bytes, std::span<const std::byte> data);
  Status Flush();

  uint64_t written_bytes() const { return written_bytes_; }

 private:
  static constexpr size_t kBufferBytes = 1 << 20;

  Filesystem& filesystem_;
  uint64_t start_bytes_ = 0;
  std::vector<std::byte> buffer_;
  uint64_t written_bytes_ = 0;
};

}  // namespace rootloom
