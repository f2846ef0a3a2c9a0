// What an operation on a filesystem read from its device and wrote to it. Its price on a disk whose data is far away is
// the distinct chunks.
#pragma once

#include <bit>
#include <cstdint>
#include <unordered_map>

#include "native/block/device.h"

namespace rootloom {

struct IoCounts {
  uint64_t read_calls = 0;
  uint64_t read_bytes = 0;
  uint64_t blocks_read = 0;  // distinct blocks of 4 KiB
  uint64_t chunks_read = 0;  // distinct chunks of 64 KiB
  uint64_t write_calls = 0;
  uint64_t written_bytes = 0;  // without what was zeroed or trimmed, as the next two
  uint64_t blocks_written = 0;
  uint64_t chunks_written = 0;
  uint64_t zeroed_bytes = 0;
  uint64_t prefetch_calls = 0;  // how often ranges were announced: at most so many round trips before the reads

  // Of two operations one after the other. Blocks and chunks that both touched count twice.
  IoCounts& operator+=(const IoCounts& other) {
    read_calls += other.read_calls;
    read_bytes += other.read_bytes;
    blocks_read += other.blocks_read;
    chunks_read += other.chunks_read;
    write_calls += other.write_calls;
    written_bytes += other.written_bytes;
    blocks_written += other.blocks_written;
    chunks_written += other.chunks_written;
    zeroed_bytes += other.zeroed_bytes;
    prefetch_calls += other.prefetch_calls;
    return *this;
  }
};

// Counts distinct blocks and chunks, in a few bytes of memory for each chunk touched.
class TouchedBlocks {
 public:
  static constexpr uint64_t kBlockBytes = 4096;
  static constexpr uint64_t kBlocksPerChunk = 16;
  static constexpr uint64_t kChunkBytes = kBlockBytes * kBlocksPerChunk;

  void Add(Range range) {
    if (range.length_bytes == 0) return;
    const uint64_t last = (range.end_bytes() - 1) / kBlockBytes;
    for (uint64_t block = range.offset_bytes / kBlockBytes; block <= last;) {
      const uint64_t chunk = block / kBlocksPerChunk;
      uint16_t touched = 0;
      for (; block <= last && block / kBlocksPerChunk == chunk; ++block) {
        touched |= static_cast<uint16_t>(1u << block % kBlocksPerChunk);
      }
      uint16_t& known = chunks_[chunk];
      block_count_ += static_cast<uint64_t>(std::popcount(static_cast<uint16_t>(touched & ~known)));
      known |= touched;
    }
  }

  uint64_t block_count() const { return block_count_; }
  uint64_t chunk_count() const { return chunks_.size(); }

 private:
  std::unordered_map<uint64_t, uint16_t> chunks_;  // bit i: block i of the chunk
  uint64_t block_count_ = 0;
};

}  // namespace rootloom
