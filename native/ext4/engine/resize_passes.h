/* resize2fs' passes over everything, a run at a time.
 *
 * Upstream looks at each block of the disk and each inode by itself, with a search of a bitmap's tree for each, so that
 * a resize would take longer the larger the disk is, whatever there is to change. These do the same by the runs of the
 * bitmaps, and have the same effect, to the bit. CMakeLists.txt puts them into resize2fs' source in the place of what
 * they replace.
 */
#ifndef ROOTLOOM_NATIVE_EXT4_ENGINE_RESIZE_PASSES_H_
#define ROOTLOOM_NATIVE_EXT4_ENGINE_RESIZE_PASSES_H_

#ifdef __cplusplus
#include "native/ext4/ext2fs.h"
#else
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* True when *block is in use, in the loop that takes from old_fs the blocks that are in move_blocks. False also when it
 * is not to be moved: then *block is the last one before the next that is. */
int rootloom_resize_is_used(ext2_filsys old_fs, ext2fs_block_bitmap move_blocks, blk64_t* block);

/* Marks the metadata of the groups whose block bitmap is not initialised. */
void rootloom_resize_fix_uninit_bitmaps(ext2_filsys fs);

/* Counts what is free, for the descriptors and the superblock. */
errcode_t rootloom_resize_count_free(ext2_filsys fs);

#ifdef __cplusplus
}
#endif

#endif /* ROOTLOOM_NATIVE_EXT4_ENGINE_RESIZE_PASSES_H_ */
