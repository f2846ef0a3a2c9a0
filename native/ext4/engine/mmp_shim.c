/* Multi-mount protection for e2fsck. libext2fs reads its block by opening a file of the device's name, and writes the
 * host's name into it; here it goes through the device like every other block, and tells of no host. A device has one
 * owner, so nobody is waited for. */
#include <string.h>

#include "config.h"
#include "native/ext4/engine/run.h"

errcode_t rootloom_engine_mmp_read(ext2_filsys fs, blk64_t block, void* buffer) {
  if (block <= fs->super->s_first_data_block || block >= ext2fs_blocks_count(fs->super)) return EXT2_ET_MMP_BAD_BLOCK;
  const errcode_t code = io_channel_read_blk64(fs->io, block, 1, buffer);
  if (code != 0) return code;
  const struct mmp_struct* mmp = buffer;
  if (mmp->mmp_magic != EXT4_MMP_MAGIC) return EXT2_ET_MMP_MAGIC_INVALID;
  const int ignored = fs->flags & EXT2_FLAG_IGNORE_CSUM_ERRORS;
  return ignored || ext2fs_mmp_csum_verify(fs, buffer) ? 0 : EXT2_ET_MMP_CSUM_INVALID;
}

/* REQUIRES: fs->mmp_buf, which e2fsck has read the block into. */
errcode_t rootloom_engine_mmp_clear(ext2_filsys fs) {
  if ((fs->flags & EXT2_FLAG_RW) == 0) return EXT2_ET_RO_FILSYS;
  memset(fs->mmp_buf, 0, fs->blocksize);
  struct mmp_struct* mmp = fs->mmp_buf;
  mmp->mmp_magic = EXT4_MMP_MAGIC;
  mmp->mmp_seq = EXT4_MMP_SEQ_CLEAN;
  mmp->mmp_check_interval = fs->super->s_mmp_update_interval;
  if (mmp->mmp_check_interval < EXT4_MMP_MIN_CHECK_INTERVAL) mmp->mmp_check_interval = EXT4_MMP_MIN_CHECK_INTERVAL;
  return ext2fs_mmp_write(fs, fs->super->s_mmp_block, fs->mmp_buf);
}
