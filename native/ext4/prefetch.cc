#include "native/ext4/prefetch.h"

#include <vector>

namespace rootloom {

namespace {

constexpr uint64_t kJournalBytes = 4 << 20;
// Of the journal's superblock, whose numbers have the most significant byte first.
constexpr size_t kJournalStartOffset = 0x1c;

// Ranges in blocks of the filesystem, neighbours joined as they come.
class BlockRanges {
 public:
  explicit BlockRanges(ext2_filsys fs) : block_size_(fs->blocksize), end_block_(ext2fs_blocks_count(fs->super)) {}

  // Blocks beyond the filesystem are left out: a broken one may name any.
  void Add(blk64_t block, uint64_t count) {
    if (block == 0 || block >= end_block_ || count == 0) return;
    const Range range{block * block_size_, std::min<uint64_t>(count, end_block_ - block) * block_size_};
    if (!ranges_.empty() && ranges_.back().end_bytes() == range.offset_bytes) {
      ranges_.back().length_bytes += range.length_bytes;
    } else {
      ranges_.push_back(range);
    }
  }

  void Announce(DeviceIo& io) const {
    if (!ranges_.empty()) io.Prefetch(ranges_);
  }

 private:
  const uint64_t block_size_;
  const uint64_t end_block_;
  std::vector<Range> ranges_;
};

bool IsUnset(ext2_filsys fs, dgrp_t group, uint16_t flag) {
  return ext2fs_has_group_desc_csum(fs) && ext2fs_bg_flags_test(fs, group, flag);
}

void AddInodes(BlockRanges& ranges, ext2_filsys fs, dgrp_t group, uint64_t inode_count) {
  const uint64_t bytes = inode_count * EXT2_INODE_SIZE(fs->super);
  ranges.Add(ext2fs_inode_table_loc(fs, group), (bytes + fs->blocksize - 1) / fs->blocksize);
}

uint64_t InodesInUse(ext2_filsys fs, dgrp_t group) {
  const uint64_t inodes = fs->super->s_inodes_per_group;
  if (!ext2fs_has_group_desc_csum(fs)) return inodes;
  if (IsUnset(fs, group, EXT2_BG_INODE_UNINIT)) return 0;
  return inodes - std::min<uint64_t>(inodes, ext2fs_bg_itable_unused(fs, group));
}

// The blocks of a file, as far as they are known without reading more than its inode.
void AddFirstBlocks(BlockRanges& ranges, ext2_filsys fs, ext2_ino_t number) {
  ext2_inode inode = {};
  if (number == 0 || ext2fs_read_inode(fs, number, &inode) != 0) return;
  if ((inode.i_flags & EXT4_EXTENTS_FL) != 0) {
    const auto visit = [](ext2_filsys, blk64_t* block, e2_blkcnt_t, blk64_t, int, void* data) {
      static_cast<BlockRanges*>(data)->Add(*block, 1);
      return 0;
    };
    ext2fs_block_iterate3(fs, number, BLOCK_FLAG_READ_ONLY, nullptr, visit, &ranges);
  } else {
    for (const uint32_t block : inode.i_block) ranges.Add(block, 1);
  }
}

// Only a failure of the device counts.
Status DeviceStatus(Filesystem& filesystem) {
  std::optional<Failure> failure = filesystem.io().TakeFailure();
  return failure.has_value() ? Status(std::move(*failure)) : Status::Ok();
}

}  // namespace

void AnnounceOpen(DeviceIo& io) {
  const Range first{0, TouchedBlocks::kChunkBytes};
  io.Prefetch({&first, 1});
}

Status AnnounceResize(Filesystem& filesystem, InodeScan scan) {
  ext2_filsys fs = filesystem.raw();
  BlockRanges known(fs);
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    if (!IsUnset(fs, group, EXT2_BG_BLOCK_UNINIT)) known.Add(ext2fs_block_bitmap_loc(fs, group), 1);
  }
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    if (!IsUnset(fs, group, EXT2_BG_INODE_UNINIT)) known.Add(ext2fs_inode_bitmap_loc(fs, group), 1);
  }
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    const uint64_t reserved = group == 0 ? uint64_t{EXT2_FIRST_INO(fs->super)} : 0;
    AddInodes(known, fs, group, scan == InodeScan::kAll ? std::max(InodesInUse(fs, group), reserved) : reserved);
  }
  known.Announce(filesystem.io());

  BlockRanges read(fs);
  if (ext2fs_has_feature_resize_inode(fs->super)) AddFirstBlocks(read, fs, EXT2_RESIZE_INO);
  if (ext2fs_has_feature_orphan_file(fs->super)) AddFirstBlocks(read, fs, fs->super->s_orphan_file_inum);
  read.Announce(filesystem.io());
  return DeviceStatus(filesystem);
}

Status AnnounceJournal(Filesystem& filesystem) {
  ext2_filsys fs = filesystem.raw();
  if (fs->super->s_journal_inum == 0) return Status::Ok();
  std::vector<std::byte> superblock(fs->blocksize);
  blk64_t block = 0;
  if (ext2fs_bmap2(fs, fs->super->s_journal_inum, nullptr, nullptr, 0, 0, nullptr, &block) != 0 || block == 0 ||
      io_channel_read_blk64(fs->io, block, 1, superblock.data()) != 0) {
    return DeviceStatus(filesystem);
  }
  uint32_t start = 0;
  std::memcpy(&start, superblock.data() + kJournalStartOffset, sizeof start);
  struct Visit {
    BlockRanges ranges;
    e2_blkcnt_t first, end;
  } visit{BlockRanges(fs), ext2fs_be32_to_cpu(start), 0};
  visit.end = visit.first + static_cast<e2_blkcnt_t>(kJournalBytes / fs->blocksize);
  const auto add = [](ext2_filsys, blk64_t* place, e2_blkcnt_t logical, blk64_t, int, void* data) {
    auto& wanted = *static_cast<Visit*>(data);
    if (logical >= wanted.end) return BLOCK_ABORT;
    if (logical >= wanted.first) wanted.ranges.Add(*place, 1);
    return 0;
  };
  ext2fs_block_iterate3(fs, fs->super->s_journal_inum, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, nullptr, add,
                        &visit);
  visit.ranges.Announce(filesystem.io());
  return DeviceStatus(filesystem);
}

}  // namespace rootloom
