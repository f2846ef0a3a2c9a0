#include "native/block/memory_device.h"

#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>

#include "native/block/extent_list.h"
#include "native/block/parts.h"

namespace rootloom {

Result<std::shared_ptr<MemoryDevice>> MemoryDevice::Create(uint64_t size_bytes, uint32_t block_size) {
  ROOTLOOM_RETURN_IF_ERROR(CheckBlockSize("create a memory device", block_size));
  if (size_bytes > (uint64_t{block_size} << 32)) {
    return Status::Invalid("create a memory device", "the size is " + std::to_string(size_bytes) +
                                                         " bytes, it must be at most 2^32 blocks of " +
                                                         std::to_string(block_size));
  }
  std::shared_ptr<MemoryDevice> device(new MemoryDevice(size_bytes, block_size));
  const uint64_t chunk_count = (size_bytes + device->chunk_bytes() - 1) / device->chunk_bytes();
  device->chunks_.reset(new (std::nothrow) std::unique_ptr<Chunk>[chunk_count]);
  if (device->chunks_ == nullptr) return Status::Errno("create", device->name(), ENOMEM);
  return device;
}

MemoryDevice::Block* MemoryDevice::FindBlock(uint64_t offset_bytes) {
  Chunk* chunk = chunks_[offset_bytes / chunk_bytes()].get();
  return chunk == nullptr ? nullptr : &(*chunk)[offset_bytes % chunk_bytes() / block_size_];
}

Status MemoryDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  return ForEachPart({offset_bytes, buffer.size()}, chunk_bytes(), [&](Range in_chunk) {
    std::shared_lock lock(LockOf(in_chunk.offset_bytes));
    return ForEachPart(in_chunk, block_size_, [&](Range in_block) {
      std::byte* target = buffer.data() + (in_block.offset_bytes - offset_bytes);
      const Block* block = FindBlock(in_block.offset_bytes);
      if (block == nullptr || *block == nullptr) {
        std::memset(target, 0, in_block.length_bytes);
      } else {
        std::memcpy(target, block->get() + in_block.offset_bytes % block_size_, in_block.length_bytes);
      }
      return Status::Ok();
    });
  });
}

Status MemoryDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability) {
  return ForEachPart({offset_bytes, data.size()}, chunk_bytes(), [&](Range in_chunk) {
    std::lock_guard lock(LockOf(in_chunk.offset_bytes));
    std::unique_ptr<Chunk>& chunk = chunks_[in_chunk.offset_bytes / chunk_bytes()];
    if (chunk == nullptr) chunk.reset(new (std::nothrow) Chunk());
    if (chunk == nullptr) return Status::Errno("write", name(), ENOMEM, in_chunk.offset_bytes);
    return ForEachPart(in_chunk, block_size_, [&](Range in_block) {
      Block& block = *FindBlock(in_block.offset_bytes);
      if (block == nullptr) block.reset(new (std::nothrow) std::byte[block_size_]());
      if (block == nullptr) return Status::Errno("write", name(), ENOMEM, in_block.offset_bytes);
      std::memcpy(block.get() + in_block.offset_bytes % block_size_,
                  data.data() + (in_block.offset_bytes - offset_bytes), in_block.length_bytes);
      return Status::Ok();
    });
  });
}

Status MemoryDevice::DoZero(Range range, Durability) {
  return ForEachPart(range, chunk_bytes(), [&](Range in_chunk) {
    std::lock_guard lock(LockOf(in_chunk.offset_bytes));
    std::unique_ptr<Chunk>& chunk = chunks_[in_chunk.offset_bytes / chunk_bytes()];
    if (in_chunk.length_bytes == chunk_bytes()) chunk.reset();
    if (chunk == nullptr) return Status::Ok();
    return ForEachPart(in_chunk, block_size_, [&](Range in_block) {
      Block& block = *FindBlock(in_block.offset_bytes);
      const Range whole = WholeBlocks(in_block, block_size_, size_bytes_);
      if (whole == in_block) {
        block.reset();
      } else if (block != nullptr) {
        std::memset(block.get() + in_block.offset_bytes % block_size_, 0, in_block.length_bytes);
      }
      return Status::Ok();
    });
  });
}

Status MemoryDevice::DoTrim(Range range) {
  return DoZero(WholeBlocks(range, block_size_, size_bytes_), Durability::kBuffered);
}

Result<std::vector<Extent>> MemoryDevice::DoExtents(Range range, size_t max_count) {
  ExtentList extents(max_count);
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes();) {
    std::shared_lock lock(LockOf(offset));
    const Block* block = FindBlock(offset);
    const uint64_t unit_bytes = block == nullptr ? chunk_bytes() : block_size_;
    const uint64_t length = std::min(unit_bytes - offset % unit_bytes, range.end_bytes() - offset);
    const bool data = block != nullptr && *block != nullptr;
    if (!extents.Add({{offset, length}, data ? ExtentKind::kData : ExtentKind::kHole})) break;
    offset += length;
  }
  return std::move(extents).Take();
}

}  // namespace rootloom
