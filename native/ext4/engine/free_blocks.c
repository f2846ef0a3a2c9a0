/* libext2fs' search for free blocks in a row, by the runs of the bitmap.
 *
 * Upstream tries one block after the other, each with a search of the bitmap's tree, so that making room for the tables
 * of a few groups beside a full disk takes longer than all the rest. The linker puts this in its place (--wrap, see
 * CMakeLists.txt); it finds the same blocks.
 */
#include "config.h"
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

errcode_t __real_ext2fs_get_free_blocks2(ext2_filsys fs, blk64_t start, blk64_t finish, int count,
                                         ext2fs_block_bitmap map, blk64_t* found);

errcode_t __wrap_ext2fs_get_free_blocks2(ext2_filsys fs, blk64_t start, blk64_t finish, int count,
                                         ext2fs_block_bitmap map, blk64_t* found) {
  if (map == NULL) map = fs->block_map;
  /* A search that goes on at the disk's beginning stays upstream's. */
  if (map == NULL || finish <= start || ext2fs_get_bitmap_granularity(map) != 0) {
    return __real_ext2fs_get_free_blocks2(fs, start, finish, count, map, found);
  }
  if (count == 0) count = 1;
  const blk64_t end = ext2fs_blocks_count(fs->super);
  blk64_t block = start != 0 ? start : fs->super->s_first_data_block;
  while (block < finish && block + (blk64_t)count <= end) {
    blk64_t used = 0;
    if (ext2fs_find_first_set_block_bitmap2(map, block, block + (blk64_t)count - 1, &used) != 0) {
      *found = block;
      return 0;
    }
    if (ext2fs_find_first_zero_block_bitmap2(map, used, end - 1, &block) != 0) break;
  }
  return EXT2_ET_BLOCK_ALLOC_FAIL;
}
