// The passes over everything that stand in for upstream's: each has the effect of looking at every block by itself.
#include "native/ext4/engine/resize_passes.h"

#include <gtest/gtest.h>

#include "native/ext4/filesystem.h"
#include "test/native/ext4/ext4_testing.h"
#include "test/native/util/random.h"

// What the linker has put free_blocks.c in the place of.
extern "C" errcode_t __real_ext2fs_get_free_blocks2(ext2_filsys fs, blk64_t start, blk64_t finish, int count,
                                                    ext2fs_block_bitmap map, blk64_t* found);

namespace rootloom::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Filesystems of the stock mke2fs: with 1 KiB blocks the first block is 1, and groups are small.
class ResizePassesTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string path = folder_.File("disk");
    CreateFile(path, kSizeBytes);
    ASSERT_TRUE(ToolSucceeds(std::string("mke2fs -q -t ext4 ") + GetParam() + " '" + path + "'"));
    auto opened = Filesystem::Open(OpenImage(path), {.writable = true}, CallContext());
    ASSERT_TRUE(IsOk(opened));
    filesystem_ = std::move(opened).value();
    ASSERT_TRUE(IsOk(filesystem_->ReadBitmaps()));
    fs_ = filesystem_->raw();
    first_ = fs_->super->s_first_data_block;
    end_ = ext2fs_blocks_count(fs_->super);
  }

  // Runs of all lengths, more of them short.
  void FillAtRandom(ext2fs_block_bitmap map) {
    for (int i = 0; i < 400; ++i) {
      const blk64_t block = first_ + random_.Below(end_ - first_);
      const uint64_t longest = uint64_t{1} << random_.Below(14);
      const auto count = static_cast<unsigned>(std::min<uint64_t>(1 + random_.Below(longest), end_ - block));
      if (random_.OneIn(3)) {
        ext2fs_unmark_block_bitmap_range2(map, block, count);
      } else {
        ext2fs_mark_block_bitmap_range2(map, block, count);
      }
    }
  }

  ext2fs_block_bitmap NewBitmap() {
    ext2fs_block_bitmap map = nullptr;
    EXPECT_EQ(ext2fs_allocate_block_bitmap(fs_, "a test", &map), 0);
    return map;
  }

  static constexpr uint64_t kSizeBytes = 100 * kMiB;
  const TempFolder folder_;
  Random random_;
  std::unique_ptr<Filesystem> filesystem_;
  ext2_filsys fs_ = nullptr;
  blk64_t first_ = 0;
  blk64_t end_ = 0;
};

TEST_P(ResizePassesTest, FreeBlocksAreFoundWhereUpstreamFindsThem) {
  FillAtRandom(fs_->block_map);
  for (int i = 0; i < 3000; ++i) {
    const blk64_t start = random_.OneIn(10) ? 0 : first_ + random_.Below(end_ - first_);
    const blk64_t finish = random_.OneIn(5) ? first_ + random_.Below(end_ - first_) : end_ - 1;
    const int count = static_cast<int>(random_.Below(uint64_t{1} << random_.Below(10)));
    blk64_t expected = 0;
    blk64_t found = 0;
    const errcode_t expected_code = __real_ext2fs_get_free_blocks2(fs_, start, finish, count, nullptr, &expected);
    EXPECT_EQ(ext2fs_get_free_blocks2(fs_, start, finish, count, nullptr, &found), expected_code);
    EXPECT_EQ(found, expected) << "from " << start << " to " << finish << ": " << count;
  }
}

TEST_P(ResizePassesTest, FreeBlocksAreFoundOnAnEmptyAndAFullDisk) {
  ext2fs_block_bitmap map = NewBitmap();
  blk64_t found = 0;
  EXPECT_EQ(ext2fs_get_free_blocks2(fs_, 100, 200, 7, map, &found), 0);
  EXPECT_EQ(found, 100U);
  EXPECT_EQ(ext2fs_get_free_blocks2(fs_, end_ - 6, end_ - 1, 7, map, &found), EXT2_ET_BLOCK_ALLOC_FAIL);
  ext2fs_mark_block_bitmap_range2(map, first_, static_cast<unsigned>(end_ - first_));
  EXPECT_EQ(ext2fs_get_free_blocks2(fs_, 100, 200, 7, map, &found), EXT2_ET_BLOCK_ALLOC_FAIL);
  ext2fs_free_block_bitmap(map);
}

TEST_P(ResizePassesTest, EveryBlockToMoveIsVisitedInOrder) {
  FillAtRandom(fs_->block_map);
  ext2fs_block_bitmap move_blocks = NewBitmap();
  for (const bool has_some : {false, true}) {
    if (has_some) FillAtRandom(move_blocks);
    std::vector<blk64_t> expected;
    for (blk64_t block = first_; block < end_; ++block) {
      const bool is_used = ext2fs_test_block_bitmap2(fs_->block_map, block) != 0;
      if (is_used && ext2fs_test_block_bitmap2(move_blocks, block) != 0) expected.push_back(block);
    }
    std::vector<blk64_t> visited;
    for (blk64_t block = first_; block < end_; ++block) {
      if (rootloom_resize_is_used(fs_, move_blocks, &block) == 0) continue;
      if (ext2fs_test_block_bitmap2(move_blocks, block) != 0) visited.push_back(block);
    }
    EXPECT_EQ(visited, expected);
    EXPECT_EQ(expected.empty(), !has_some);
  }
  ext2fs_free_block_bitmap(move_blocks);
}

TEST_P(ResizePassesTest, FreeCountsAreThoseOfEveryBlockAndInode) {
  FillAtRandom(fs_->block_map);
  for (int i = 0; i < 500; ++i) {
    ext2fs_mark_inode_bitmap2(fs_->inode_map, static_cast<ext2_ino_t>(1 + random_.Below(fs_->super->s_inodes_count)));
  }
  ASSERT_EQ(rootloom_resize_count_free(fs_), 0);
  uint64_t free_blocks = 0;
  uint64_t free_inodes = 0;
  for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
    uint32_t blocks = 0;
    for (blk64_t block = ext2fs_group_first_block2(fs_, group); block <= ext2fs_group_last_block2(fs_, group);
         ++block) {
      if (ext2fs_test_block_bitmap2(fs_->block_map, block) == 0) ++blocks;
    }
    EXPECT_EQ(ext2fs_bg_free_blocks_count(fs_, group), blocks) << "of group " << group;
    uint32_t inodes = 0;
    const bool is_unused = ext2fs_bg_flags_test(fs_, group, EXT2_BG_INODE_UNINIT) != 0;
    for (uint32_t i = 1; i <= fs_->super->s_inodes_per_group; ++i) {
      const ext2_ino_t inode = group * fs_->super->s_inodes_per_group + i;
      if (is_unused || ext2fs_test_inode_bitmap2(fs_->inode_map, inode) == 0) ++inodes;
    }
    EXPECT_EQ(ext2fs_bg_free_inodes_count(fs_, group), inodes) << "of group " << group;
    EXPECT_TRUE(ext2fs_group_desc_csum_verify(fs_, group));
    free_blocks += blocks;
    free_inodes += inodes;
  }
  EXPECT_EQ(ext2fs_free_blocks_count(fs_->super), free_blocks);
  EXPECT_EQ(fs_->super->s_free_inodes_count, free_inodes);
}

TEST_P(ResizePassesTest, GroupsWithoutBitmapsGetTheirMetadata) {
  ext2fs_block_bitmap expected = nullptr;
  ASSERT_EQ(ext2fs_copy_bitmap(fs_->block_map, &expected), 0);  // As read: groups without bitmaps have it already.
  for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
    if (ext2fs_bg_flags_test(fs_, group, EXT2_BG_BLOCK_UNINIT) == 0) continue;
    const blk64_t block = ext2fs_group_first_block2(fs_, group);
    const blk64_t count = ext2fs_group_last_block2(fs_, group) - block + 1;
    ext2fs_unmark_block_bitmap_range2(fs_->block_map, block, static_cast<unsigned>(count));
    ext2fs_mark_block_bitmap2(fs_->block_map, block + random_.Below(count));
  }
  rootloom_resize_fix_uninit_bitmaps(fs_);
  for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
    // With flexible groups the tables lie in others.
    for (blk64_t block = ext2fs_inode_table_loc(fs_, group), i = 0; i < fs_->inode_blocks_per_group; ++i, ++block) {
      EXPECT_TRUE(ext2fs_test_block_bitmap2(fs_->block_map, block)) << block;
    }
  }
  EXPECT_EQ(ext2fs_compare_block_bitmap(fs_->block_map, expected), 0);
  ext2fs_free_block_bitmap(expected);
}

INSTANTIATE_TEST_SUITE_P(Profiles, ResizePassesTest,
                         ::testing::Values("-b 4096", "-b 1024", "-b 2048 -O ^flex_bg",
                                           "-b 1024 -O meta_bg,^resize_inode", "-b 4096 -g 1024 -N 3000",
                                           "-b 1024 -O ^metadata_csum,^uninit_bg"));

}  // namespace
}  // namespace rootloom::testing
