// MemoryDevice: a writable device in memory, for tests, benchmarks and scratch disks.
#pragma once

#include <array>
#include <memory>
#include <shared_mutex>
#include <vector>

#include "native/block/device.h"

namespace rootloom {

// Sparse: a block takes memory from its first write until it is zeroed or trimmed. Flush has nothing to do.
// Two reads never wait for each other; a write waits for others within the same kBlocksPerChunk blocks.
class MemoryDevice final : public Device {
 public:
  // At most 2^32 blocks. Fails with ENOMEM, as a write can.
  static Result<std::shared_ptr<MemoryDevice>> Create(uint64_t size_bytes, uint32_t block_size = kDefaultBlockSize);

  std::string name() const override { return "memory device"; }
  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t block_size() const override { return block_size_; }
  bool writable() const override { return true; }
  Status Flush() override { return Status::Ok(); }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;

 private:
  static constexpr uint64_t kBlocksPerChunk = 256;
  using Block = std::unique_ptr<std::byte[]>;  // null: zeros
  using Chunk = std::array<Block, kBlocksPerChunk>;

  MemoryDevice(uint64_t size_bytes, uint32_t block_size) : size_bytes_(size_bytes), block_size_(block_size) {}

  uint64_t chunk_bytes() const { return block_size_ * kBlocksPerChunk; }
  std::shared_mutex& LockOf(uint64_t offset_bytes) { return locks_[offset_bytes / chunk_bytes() % locks_.size()]; }
  // The slot of a block that has been written at some time, else nullptr. REQUIRES: the lock is held, at least shared
  Block* FindBlock(uint64_t offset_bytes);

  const uint64_t size_bytes_;
  const uint32_t block_size_;
  std::array<std::shared_mutex, 64> locks_;
  // Null: all zeros. Entry i and all below it are protected by locks_[i % 64]; the array itself never changes.
  std::unique_ptr<std::unique_ptr<Chunk>[]> chunks_;
};

// The same with the default block size, for who makes devices of one kind or another.
inline Result<std::shared_ptr<Device>> MakeMemoryDevice(uint64_t size_bytes) {
  ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<MemoryDevice> device, MemoryDevice::Create(size_bytes));
  return std::shared_ptr<Device>(std::move(device));
}

}  // namespace rootloom
