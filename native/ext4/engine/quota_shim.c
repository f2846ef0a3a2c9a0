/* e2fsprogs' quota files as a run: see run.h. Apart from shim.c, which has e2fsck's types of the same names. */
#include <errno.h>

#include "native/ext4/engine/run.h"
#include "support/quotaio.h"
#include "support/quotaio_tree.h"

struct update {
  enum quota_type type;
  const struct rootloom_quota_usage* usage;
};

/* Overwrites the one number that is wrong, where it is: limits, times and the file's shape stay. */
static int set_space(struct dquot* dquot, void* data) {
  const struct update* update = data;
  const struct rootloom_quota_usage* usage = update->usage;
  const qsize_t space = (qsize_t)usage->space_of(usage->owner, update->type, dquot->dq_id);
  if (dquot->dq_dqb.dqb_curspace == space) return 0;
  dquot->dq_dqb.dqb_curspace = space;
  qtree_write_dquot(dquot);
  return 0;
}

static errcode_t update_file(ext2_filsys fs, struct update* update) {
  struct quota_ctx context = {.fs = fs};
  struct quota_handle file = {0};
  errcode_t code = quota_file_open(&context, &file, 0, update->type, -1, EXT2_FILE_WRITE);
  if (code != 0) return code;
  if (file.qh_ops->scan_dquots(&file, set_space, update) < 0) code = EXT2_ET_FILESYSTEM_CORRUPTED;
  const errcode_t closed = quota_file_close(&context, &file);
  return code != 0 ? code : closed;
}

/* EIO is what upstream says of a file that is no quota file. */
static errcode_t to_own(errcode_t code) { return code == EIO ? EXT2_ET_FILESYSTEM_CORRUPTED : code; }

errcode_t rootloom_run_quota_update(struct rootloom_engine_run* run, ext2_filsys fs,
                                    const struct rootloom_quota_usage* usage) {
  if (!rootloom_engine_enter(run)) return EXT2_ET_NO_MEMORY;
  errcode_t code = 0;
  for (int type = 0; type < MAXQUOTAS && code == 0; ++type) {
    struct update update = {.type = (enum quota_type)type, .usage = usage};
    if (*quota_sb_inump(fs->super, update.type) != 0) code = to_own(update_file(fs, &update));
  }
  rootloom_engine_leave(run);
  return code;
}
