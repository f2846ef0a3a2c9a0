// Space: hands out the free blocks of a new filesystem, metadata packed at the front and content behind it.
#pragma once

#include <cstdint>
#include <vector>

#include "native/ext4/filesystem.h"

namespace rootloom {

struct BlockRange {
  uint64_t start = 0;
  uint64_t count = 0;
  uint64_t end() const { return start + count; }
};

// Takes only blocks of which the device says that nothing was ever stored there: content is seen through them, from
// the device below. Content is handed out in ascending order, so that files lie in the order in which they were asked
// for. Not thread-safe. filesystem must outlive it.
class Space {
 public:
  // Keeps the first metadata_blocks free blocks for metadata. Both kinds take from the other's part when their own has
  // run out. REQUIRES: filesystem's bitmaps are in memory.
  static Result<Space> Open(Filesystem& filesystem, uint64_t metadata_blocks);

  // Gives the next free range of at least one and at most block_count blocks; kNoSpace when there is none.
  Result<BlockRange> TakeContent(uint64_t block_count);
  Result<BlockRange> TakeMetadata(uint64_t block_count);

  // Marks everything that was handed out as used in the filesystem. Nothing may be taken afterwards.
  void Commit();

 private:
  // Free ranges in ascending order, of which those before next and the first used blocks of next are handed out.
  struct Part {
    std::vector<BlockRange> ranges;
    size_t next = 0;
    uint64_t used = 0;
  };

  explicit Space(Filesystem& filesystem) : filesystem_(filesystem) {}
  Status Collect(std::vector<BlockRange>& free);
  Result<BlockRange> Take(Part& own, Part& other, uint64_t block_count);
  void MarkUsed(BlockRange range);

  Filesystem& filesystem_;
  Part metadata_;
  Part content_;
};

}  // namespace rootloom
