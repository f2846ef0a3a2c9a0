#include "native/ext4/rebuild/space.h"

#include <cerrno>

namespace rootloom {

namespace {

constexpr const char* kOperation = "find free blocks in";

// What of a free range the device has never stored anything in.
Status AddUntouched(Filesystem& filesystem, BlockRange range, std::vector<BlockRange>& free) {
  const uint64_t block_bytes = filesystem.raw()->blocksize;
  ROOTLOOM_ASSIGN_OR_RETURN(const auto extents,
                            filesystem.device().Extents({range.start * block_bytes, range.count * block_bytes}));
  for (const Extent& extent : extents) {
    if (extent.kind != ExtentKind::kHole) continue;
    const uint64_t start = (extent.range.offset_bytes + block_bytes - 1) / block_bytes;
    const uint64_t end = extent.range.end_bytes() / block_bytes;
    if (start < end) free.push_back({start, end - start});
  }
  return Status::Ok();
}

}  // namespace

Status Space::Collect(std::vector<BlockRange>& free) {
  ext2_filsys fs = filesystem_.raw();
  const uint64_t last = ext2fs_blocks_count(fs->super) - 1;
  for (blk64_t block = fs->super->s_first_data_block; block <= last;) {
    blk64_t start = 0;
    errcode_t code = ext2fs_find_first_zero_block_bitmap2(fs->block_map, block, last, &start);
    if (code == ENOENT) break;
    ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(code, kOperation));
    blk64_t end = 0;
    code = ext2fs_find_first_set_block_bitmap2(fs->block_map, start, last, &end);
    if (code == ENOENT) {
      code = 0;
      end = last + 1;
    }
    ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(code, kOperation));
    ROOTLOOM_RETURN_IF_ERROR(AddUntouched(filesystem_, {start, end - start}, free));
    block = end;
  }
  return Status::Ok();
}

Result<Space> Space::Open(Filesystem& filesystem, uint64_t metadata_blocks) {
  Space space(filesystem);
  std::vector<BlockRange> free;
  ROOTLOOM_RETURN_IF_ERROR(space.Collect(free));
  for (const BlockRange& range : free) {
    const uint64_t count = std::min(range.count, metadata_blocks);
    if (count > 0) space.metadata_.ranges.push_back({range.start, count});
    if (count < range.count) space.content_.ranges.push_back({range.start + count, range.count - count});
    metadata_blocks -= count;
  }
  return space;
}

Result<BlockRange> Space::Take(Part& own, Part& other, uint64_t block_count) {
  Part& part = own.next < own.ranges.size() ? own : other;
  if (part.next == part.ranges.size()) {
    return Failure{.kind = StatusKind::kNoSpace,
                   .operation = kOperation,
                   .detail = "the content needs more than there are",
                   .path = filesystem_.device().name()};
  }
  const BlockRange& range = part.ranges[part.next];
  const BlockRange taken{range.start + part.used, std::min(range.count - part.used, block_count)};
  part.used += taken.count;
  if (part.used == range.count) {
    part.next += 1;
    part.used = 0;
  }
  return taken;
}

Result<BlockRange> Space::TakeContent(uint64_t block_count) { return Take(content_, metadata_, block_count); }

Result<BlockRange> Space::TakeMetadata(uint64_t block_count) { return Take(metadata_, content_, block_count); }

void Space::MarkUsed(BlockRange range) {
  constexpr uint64_t kMostAtOnce = 1 << 30;
  while (range.count > 0) {
    const uint64_t count = std::min(range.count, kMostAtOnce);
    ext2fs_block_alloc_stats_range(filesystem_.raw(), range.start, static_cast<blk_t>(count), +1);
    range = {range.start + count, range.count - count};
  }
}

void Space::Commit() {
  for (const Part& part : {metadata_, content_}) {
    for (size_t i = 0; i < part.next; ++i) MarkUsed(part.ranges[i]);
    if (part.next < part.ranges.size()) MarkUsed({part.ranges[part.next].start, part.used});
  }
}

}  // namespace rootloom
