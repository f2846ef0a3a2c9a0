// The layout of one file's content in the new filesystem: where its blocks go, and what of the source they show.
#pragma once

#include <cstdint>
#include <vector>

#include "native/ext4/rebuild/space.h"
#include "native/ext4/tree_blocks.h"

namespace rootloom {

// length_bytes at target_bytes of the new filesystem's device are those at source_bytes of the source's.
struct ContentRun {
  uint64_t target_bytes = 0;
  uint64_t source_bytes = 0;
  uint64_t length_bytes = 0;
  bool operator==(const ContentRun&) const = default;
};

// Blocks of a file in the new filesystem's block size: the runs of the source, where its blocks are smaller, share
// blocks with their neighbours. A block is written when any byte of it is.
struct Segment {
  uint64_t first_block = 0;
  uint64_t end_block = 0;
  bool written = true;
};
std::vector<Segment> SegmentsOf(const std::vector<FileRun>& runs, uint32_t source_block_bytes);

// Adds next at the end, as part of the last run when it reads on from it.
void AppendContentRun(std::vector<ContentRun>& runs, const ContentRun& next);

// Takes blocks for a file whose runs in the source are given: neighbours where the disk has them. Gives the file's runs
// in the new filesystem, and adds to content what its blocks show of the source.
Result<std::vector<FileRun>> LayOut(const std::vector<FileRun>& runs, uint32_t source_block_bytes, Space& space,
                                    std::vector<ContentRun>& content);

}  // namespace rootloom
