/* One run of an e2fsprogs program's engine (e2fsck, resize2fs) inside this process.
 *
 * Upstream's programs print, ask, look at the host, and end the process. Their objects are compiled with shim.h
 * included first, which redirects all of that to the run that the calling thread is in; C, because longjmp must cross
 * upstream's frames and no others. A run belongs to one thread. e2fsck keeps state in process-wide variables, so only
 * one thread may be in rootloom_run_e2fsck; resize2fs does not. E2fsckLock sees to that.
 */
#ifndef ROOTLOOM_NATIVE_EXT4_ENGINE_RUN_H_
#define ROOTLOOM_NATIVE_EXT4_ENGINE_RUN_H_

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
#include "native/ext4/ext2fs.h"
#else
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a run reports to its owner. The functions must return: they may neither throw nor jump. */
struct rootloom_engine_events {
  void* owner;
  /* One problem that e2fsck found: its code, the message without prompt and answer, and whether it was fixed. */
  void (*on_problem)(void* owner, unsigned code, const char* message, size_t length, int fixed);
  /* Text as the program would have printed it. */
  void (*on_output)(void* owner, const char* text, size_t length);
  /* pass counts from 1; current and total are in units of the pass. */
  void (*on_progress)(void* owner, int pass, unsigned long current, unsigned long total);
  /* e2fsck allocated memory, or freed what may be such memory. Whatever is left at the end is the owner's to free. */
  void (*on_allocate)(void* owner, void* memory);
  void (*on_free)(void* owner, void* memory);
  /* True when the run shall end now: it was cancelled, or the device failed. */
  int (*must_stop)(void* owner);
};

/* More than e2fsck ever has at once. */
#define ROOTLOOM_ENGINE_BITMAPS 32

struct rootloom_engine_option {
  char letter;
  const char* argument;
};

struct rootloom_engine_run {
  struct rootloom_engine_events events;
  const char* device_name;                      /* in DeviceIo's registry */
  unsigned long long device_size;               /* in bytes */
  const struct rootloom_engine_option* options; /* e2fsck's, the last with letter 0 */
  char now[24];                                 /* seconds since 1970, in decimal */
  int keep_journal;                             /* give up, with exit code 4, rather than throw the journal away */

  /* The rest belongs to shim.c and resize_shim.c. */
  void (*before_free)(struct rootloom_engine_run* run, void* memory);
  FILE* output;
  jmp_buf exit_point;
  int exit_code;
  int next_option;
  ext2_filsys filesystem;                               /* opened by e2fsck, or given to resize2fs, and not yet freed */
  ext2_inode_scan inode_scan;                           /* opened by e2fsck and not yet closed */
  ext2fs_inode_bitmap bitmaps[ROOTLOOM_ENGINE_BITMAPS]; /* made by e2fsck and not yet freed; NULL: free place */
  int context_exists;                                   /* e2fsck's context is allocated and not yet freed */
  int problem_open;                                     /* between the start of a problem and its answer */
  unsigned problem_code;
  char* message;
  size_t message_length;
};

/* Runs e2fsck with run->options and returns its exit code. Everything that it had is released also when it
 * gave up half-way, but for the memory of on_allocate. */
int rootloom_run_e2fsck(struct rootloom_engine_run* run);

/* Runs resize_fs. On success fs is freed by it and *size_blocks is the size that it chose; otherwise fs is still the
 * caller's. EXT2_ET_FILESYSTEM_CORRUPTED stands for resize2fs' giving up with exit(). */
errcode_t rootloom_run_resize(struct rootloom_engine_run* run, ext2_filsys fs, blk64_t* size_blocks);

/* What each owner's files take: a type is 0 for users, 1 for groups and 2 for projects. */
struct rootloom_quota_usage {
  void* owner;
  unsigned long long (*space_of)(void* owner, int type, unsigned id); /* in bytes */
};

/* Sets the space that is noted in the quota files of fs, which must be open for writing, to what usage says; a number
 * that is right is not written. What the device fails at is not always an error here: Filesystem::Check knows. */
errcode_t rootloom_run_quota_update(struct rootloom_engine_run* run, ext2_filsys fs,
                                    const struct rootloom_quota_usage* usage);

/* The size, in blocks, that resize2fs makes of the one asked for: it leaves out a last group that would not hold its
 * own metadata. */
blk64_t rootloom_adjusted_size(ext2_filsys fs, blk64_t size_blocks);

/* resize2fs' estimate of the smallest size, in blocks. It may be too small; resize.cc proves it. */
blk64_t rootloom_minimum_estimate(ext2_filsys fs);

/* Makes run the calling thread's run, and opens its output; false when there is no memory. Each is left again. */
int rootloom_engine_enter(struct rootloom_engine_run* run);
void rootloom_engine_leave(struct rootloom_engine_run* run);

/* The I/O manager that e2fsck uses for everything that it opens. Set by engine.cc before the first run. */
extern io_manager rootloom_engine_io_manager;

/* Makes libext2fs silent: its warnings go to the run of the calling thread, or nowhere. Call it once. */
void rootloom_silence_library(void);

#ifdef __cplusplus
}
#endif

#endif /* ROOTLOOM_NATIVE_EXT4_ENGINE_RUN_H_ */
