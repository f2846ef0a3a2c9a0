#include "native/ext4/engine/resize_passes.h"

#include <string.h>

int rootloom_resize_is_used(ext2_filsys old_fs, ext2fs_block_bitmap move_blocks, blk64_t* block) {
  if (EXT2FS_CLUSTER_RATIO(old_fs) == 1) {
    const blk64_t last = ext2fs_blocks_count(old_fs->super) - 1;
    blk64_t next = 0;
    if (ext2fs_find_first_set_block_bitmap2(move_blocks, *block, last, &next) != 0) next = last + 1;
    if (next > *block) {
      *block = next - 1;
      return 0;
    }
  }
  return ext2fs_test_block_bitmap2(old_fs->block_map, *block);
}

/* Blocks that the filesystem does not have are left out. */
static void mark_table(ext2_filsys fs, blk64_t first, blk64_t count) {
  const blk64_t least = fs->super->s_first_data_block;
  blk64_t end = first + count;
  if (first < least) first = least;
  if (end > ext2fs_blocks_count(fs->super)) end = ext2fs_blocks_count(fs->super);
  if (first < end) ext2fs_mark_block_bitmap_range2(fs->block_map, first, (unsigned)(end - first));
}

void rootloom_resize_fix_uninit_bitmaps(ext2_filsys fs) {
  if (!ext2fs_has_group_desc_csum(fs)) return;
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    if (!ext2fs_bg_flags_test(fs, group, EXT2_BG_BLOCK_UNINIT)) continue;
    const blk64_t first = ext2fs_group_first_block2(fs, group);
    const blk64_t last = ext2fs_group_last_block2(fs, group);
    ext2fs_unmark_block_bitmap_range2(fs->block_map, first, (unsigned)(last - first + 1));
    ext2fs_reserve_super_and_bgd(fs, group, fs->block_map);
    mark_table(fs, ext2fs_block_bitmap_loc(fs, group), 1);
    mark_table(fs, ext2fs_inode_bitmap_loc(fs, group), 1);
    mark_table(fs, ext2fs_inode_table_loc(fs, group), fs->inode_blocks_per_group);
  }
}

/* buffer holds whole words, and zeros beyond count bits. */
static unsigned count_ones(const unsigned long long* buffer, unsigned count) {
  unsigned ones = 0;
  for (unsigned word = 0; word * 64 < count; ++word) ones += (unsigned)__builtin_popcountll(buffer[word]);
  return ones;
}

static errcode_t count_blocks(ext2_filsys fs, unsigned long long* buffer, size_t buffer_bytes) {
  blk64_t free_clusters = 0;
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    const unsigned count = ext2fs_group_blocks_count(fs, group) >> fs->cluster_ratio_bits;
    const blk64_t first = ext2fs_group_first_block2(fs, group) >> fs->cluster_ratio_bits;
    memset(buffer, 0, buffer_bytes);
    const errcode_t code = ext2fs_get_block_bitmap_range2(fs->block_map, first, count, buffer);
    if (code != 0) return code;
    const unsigned free_here = count - count_ones(buffer, count);
    ext2fs_bg_free_blocks_count_set(fs, group, free_here);
    free_clusters += free_here;
  }
  ext2fs_free_blocks_count_set(fs->super, free_clusters << fs->cluster_ratio_bits);
  return 0;
}

static errcode_t count_inodes(ext2_filsys fs, unsigned long long* buffer, size_t buffer_bytes) {
  const unsigned in_group = fs->super->s_inodes_per_group;
  unsigned free_inodes = 0;
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    unsigned free_here = in_group;
    if (!ext2fs_bg_flags_test(fs, group, EXT2_BG_INODE_UNINIT)) {
      const ext2_ino_t first = group * in_group + 1;
      memset(buffer, 0, buffer_bytes);
      const errcode_t code = ext2fs_get_inode_bitmap_range2(fs->inode_map, first, in_group, buffer);
      if (code != 0) return code;
      free_here -= count_ones(buffer, in_group);
    }
    ext2fs_bg_free_inodes_count_set(fs, group, free_here);
    ext2fs_group_desc_csum_set(fs, group);
    free_inodes += free_here;
  }
  fs->super->s_free_inodes_count = free_inodes;
  return 0;
}

errcode_t rootloom_resize_count_free(ext2_filsys fs) {
  const unsigned clusters = fs->super->s_clusters_per_group;
  const unsigned inodes = fs->super->s_inodes_per_group;
  const size_t buffer_bytes = (size_t)(clusters > inodes ? clusters : inodes) / 64 * 8 + 8;
  unsigned long long* buffer = NULL;
  errcode_t code = ext2fs_get_mem(buffer_bytes, &buffer);
  if (code != 0) return code;
  code = count_blocks(fs, buffer, buffer_bytes);
  if (code == 0) code = count_inodes(fs, buffer, buffer_bytes);
  ext2fs_free_mem(&buffer);
  if (code == 0) ext2fs_mark_super_dirty(fs);
  return code;
}
