// BlockScan: looks at the blocks that a seal must look at, once, and hands each to the diff as data, as zeros, or not
// at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/chain/diff_writer.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

struct BlockCounts {
  uint64_t data = 0;
  uint64_t zero = 0;
  uint64_t dropped = 0;
};

// Ranges are scanned in ascending order; each starts at a whole block and ends at one or at the device's end. Memory
// is bounded: two buffers of 1 MiB, or of one block when that is larger.
class BlockScan {
 public:
  struct Options {
    DiffWriter& writer;
    uint32_t block_bytes;  // a power of two, whole pages
    // What a block is compared with, zeros beyond its end; null when there is nothing to compare with. A block that is
    // equal is dropped.
    Device* base;
    uint64_t total_bytes;  // for progress
    const CallContext& context;
  };

  explicit BlockScan(const Options& options);

  // Scans blocks that lie in a file at their offsets on the device.
  Status ScanFile(Range range, int fd, const std::string& path);
  // Scans what device holds; its zeros and holes are skipped without being read, and not counted.
  Status ScanDevice(Range range, Device& device);
  // Takes the range as zeros without looking.
  void AddZeros(Range range);

  const BlockCounts& counts() const { return counts_; }

 private:
  enum class Verdict { kData, kZero, kSame };
  using StoreRun = std::function<Status(Range run)>;

  // Judges the blocks of data_, which are those of range, and hands on the runs.
  Status SortPiece(Range range, const StoreRun& store);
  Status HandOn(Verdict verdict, Range run, const StoreRun& store);
  Verdict Judge(std::span<const std::byte> block, std::span<const std::byte> base_block) const;
  Status ScanDataExtent(Range range, Device& device);
  void MapZeros(Range range);
  Status ReadBase(Range range);
  // Splits range into pieces of one buffer, with a look at the stop token before each.
  Status ForEachPiece(Range range, const std::function<Status(Range)>& visit);
  void Advance(uint64_t length_bytes);
  uint64_t BlocksIn(uint64_t length_bytes) const;

  const Options options_;
  const size_t piece_bytes_;
  std::vector<std::byte> data_;
  std::vector<std::byte> base_data_;
  BlockCounts counts_;
  uint64_t done_bytes_ = 0;
};

}  // namespace rootloom
