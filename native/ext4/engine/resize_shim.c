/* resize2fs' engine as a run: see run.h. Apart from shim.c because resize2fs and e2fsck have types of the same names.
 */
#include <stdio.h>
#include <sys/time.h>

#include "config.h"
#include "native/ext4/engine/run.h"
#include "resize2fs.h"

/* resize2fs' progress function has no argument of its own, and a run belongs to one thread. */
static __thread struct rootloom_engine_run* resize_run;

static errcode_t report_progress(ext2_resize_t state, int pass, unsigned long current, unsigned long total) {
  (void)state;
  const struct rootloom_engine_events* events = &resize_run->events;
  if (events->must_stop(events->owner)) return EXT2_ET_CANCEL_REQUESTED;
  events->on_progress(events->owner, pass, current, total);
  return 0;
}

/* When resize_fs gives up it frees its state, but not what the state still holds. After a success it has freed the
 * filesystem before that, and rootloom_engine_free_filesystem has noted it. */
static void free_contents(struct rootloom_engine_run* run, void* memory) {
  if (run->filesystem == NULL || memory != run->filesystem->priv_data) return;
  ext2_resize_t state = memory;
  if (state->reserve_blocks != NULL) ext2fs_free_block_bitmap(state->reserve_blocks);
  if (state->move_blocks != NULL) ext2fs_free_block_bitmap(state->move_blocks);
  if (state->bmap != NULL) ext2fs_free_extent_table(state->bmap);
  if (state->imap != NULL) ext2fs_free_extent_table(state->imap);
}

errcode_t rootloom_run_resize(struct rootloom_engine_run* run, ext2_filsys fs, blk64_t* size_blocks) {
  if (!rootloom_engine_enter(run)) return EXT2_ET_NO_MEMORY;
  resize_run = run;
  run->filesystem = fs;
  run->before_free = free_contents;
  volatile errcode_t code = EXT2_ET_FILESYSTEM_CORRUPTED;
  if (setjmp(run->exit_point) == 0) code = resize_fs(fs, size_blocks, 0, report_progress);
  resize_run = NULL;
  rootloom_engine_leave(run);
  return code;
}

blk64_t rootloom_minimum_estimate(ext2_filsys fs) { return calculate_minimum_resize_size(fs, 0); }

blk64_t rootloom_adjusted_size(ext2_filsys fs, blk64_t size_blocks) {
  adjust_new_size(fs, &size_blocks);
  return size_blocks;
}

/* Time and memory of the passes are not measured. */
void rootloom_resize_init_track(struct resource_track* track, const char* what, io_channel channel) {
  (void)track, (void)what, (void)channel;
}
void rootloom_resize_print_track(ext2_resize_t state, struct resource_track* track, io_channel channel) {
  (void)state, (void)track, (void)channel;
}
