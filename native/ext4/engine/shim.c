/* What e2fsck and resize2fs find in the place of the operating system: see run.h and shim.h. */
#include <blkid/blkid.h>
#include <dirent.h>
#include <et/com_err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

#include "config.h"
#include "e2fsck.h"
#include "native/ext4/engine/run.h"
#include "problem.h"
#include "support/profile.h"

extern e2fsck_t e2fsck_global_ctx;
extern char rootloom_e2fsck_state_begin[];
extern char rootloom_e2fsck_state_end[];
int rootloom_e2fsck_main(int argc, char** argv);
int fix_problem(e2fsck_t ctx, problem_t code, struct problem_context* pctx);
io_manager rootloom_engine_io_manager;
char* rootloom_engine_optarg;
int rootloom_engine_optind;

static __thread struct rootloom_engine_run* current_run;

/* ---- Output ---- */

static ssize_t write_output(void* cookie, const char* text, size_t length) {
  struct rootloom_engine_run* run = cookie;
  run->events.on_output(run->events.owner, text, length);
  return (ssize_t)length;
}

int rootloom_engine_enter(struct rootloom_engine_run* run) {
  cookie_io_functions_t functions = {.write = write_output};
  run->output = fopencookie(run, "w", functions);
  if (run->output == NULL) return 0;
  current_run = run;
  return 1;
}

void rootloom_engine_leave(struct rootloom_engine_run* run) {
  current_run = NULL;
  fclose(run->output);
  run->output = NULL;
}

FILE* rootloom_engine_output(void) { return current_run->output; }

static void report_library_warning(const char* whoami, errcode_t code, const char* format, va_list arguments) {
  if (current_run == NULL || current_run->output == NULL) return;
  FILE* output = current_run->output;
  if (whoami != NULL) fprintf(output, "%s: ", whoami);
  if (code != 0) fprintf(output, "%s ", error_message(code));
  if (format != NULL) vfprintf(output, format, arguments);
  fputs("\n", output);
}

void rootloom_engine_com_err(const char* whoami, errcode_t code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  report_library_warning(whoami, code, format, arguments);
  va_end(arguments);
}

void rootloom_silence_library(void) {
  set_com_err_hook(report_library_warning);
  add_error_table(&et_ext2_error_table);
}

/* ---- The end of the program, and what it leaves behind ---- */

void rootloom_engine_exit(int code) {
  current_run->exit_code = code;
  longjmp(current_run->exit_point, 1);
}

errcode_t rootloom_engine_open_filesystem(const char* name, const char* options, int flags, int superblock,
                                          unsigned block_size, io_manager manager, ext2_filsys* filesystem) {
  flags |= EXT2_FLAG_SKIP_MMP; /* see mmp_shim.c */
  const errcode_t code = ext2fs_open2(name, options, flags, superblock, block_size, manager, filesystem);
  current_run->filesystem = *filesystem;
  return code;
}

errcode_t rootloom_engine_reopen_filesystem(const char* name, int flags, int superblock, unsigned block_size,
                                            io_manager manager, ext2_filsys* filesystem) {
  return rootloom_engine_open_filesystem(name, NULL, flags, superblock, block_size, manager, filesystem);
}

void rootloom_engine_free_filesystem(ext2_filsys filesystem) {
  if (current_run->filesystem == filesystem) current_run->filesystem = NULL;
  ext2fs_free(filesystem);
}

errcode_t rootloom_engine_close_filesystem(ext2_filsys* filesystem) {
  if (current_run->filesystem == *filesystem) current_run->filesystem = NULL;
  return ext2fs_close_free(filesystem);
}

errcode_t rootloom_engine_allocate_context(e2fsck_t* context);
void rootloom_engine_free_context(e2fsck_t context) {
  current_run->context_exists = 0;
  e2fsck_free_context(context);
}

void* rootloom_engine_allocate_memory(e2fsck_t ctx, unsigned long size, const char* description) {
  void* memory = e2fsck_allocate_memory(ctx, size, description);
  current_run->events.on_allocate(current_run->events.owner, memory);
  return memory;
}

void rootloom_engine_free(void* memory) {
  if (current_run != NULL) current_run->events.on_free(current_run->events.owner, memory);
  if (current_run != NULL && current_run->before_free != NULL) current_run->before_free(current_run, memory);
  free(memory);
}

errcode_t rootloom_engine_open_inode_scan(ext2_filsys filesystem, int buffer_blocks, ext2_inode_scan* scan) {
  const errcode_t code = ext2fs_open_inode_scan(filesystem, buffer_blocks, scan);
  current_run->inode_scan = code == 0 ? *scan : NULL;
  return code;
}

void rootloom_engine_close_inode_scan(ext2_inode_scan scan) {
  if (current_run->inode_scan == scan) current_run->inode_scan = NULL;
  ext2fs_close_inode_scan(scan);
}

static void replace_bitmap(ext2fs_inode_bitmap old, ext2fs_inode_bitmap new) {
  for (int i = 0; i < ROOTLOOM_ENGINE_BITMAPS; ++i) {
    if (current_run->bitmaps[i] != old) continue;
    current_run->bitmaps[i] = new;
    return;
  }
}

errcode_t rootloom_engine_allocate_inode_bitmap(ext2_filsys filesystem, const char* description, int type,
                                                const char* name, ext2fs_inode_bitmap* bitmap) {
  const errcode_t code = e2fsck_allocate_inode_bitmap(filesystem, description, type, name, bitmap);
  if (code == 0) replace_bitmap(NULL, *bitmap);
  return code;
}

void rootloom_engine_free_inode_bitmap(ext2fs_inode_bitmap bitmap) {
  if (bitmap != NULL) replace_bitmap(bitmap, NULL);
  ext2fs_free_inode_bitmap(bitmap);
}

static void finish_problem(struct rootloom_engine_run* run, int fixed) {
  if (!run->problem_open) return;
  run->problem_open = 0;
  run->events.on_problem(run->events.owner, run->problem_code, run->message == NULL ? "" : run->message,
                         run->message_length, fixed);
  free(run->message);
  run->message = NULL;
  run->message_length = 0;
}

static void release(struct rootloom_engine_run* run) {
  finish_problem(run, 0);
  if (run->inode_scan != NULL) ext2fs_close_inode_scan(run->inode_scan);
  run->inode_scan = NULL;
  if (run->context_exists) {
    e2fsck_global_ctx->fs = run->filesystem;
    if (e2fsck_global_ctx->qctx != NULL) quota_release_context(&e2fsck_global_ctx->qctx);
    e2fsck_free_context(e2fsck_global_ctx);
    run->context_exists = 0;
  }
  e2fsck_global_ctx = NULL;
  for (int i = 0; i < ROOTLOOM_ENGINE_BITMAPS; ++i) {
    if (run->bitmaps[i] != NULL) ext2fs_free_inode_bitmap(run->bitmaps[i]);
  }
  if (run->filesystem != NULL) ext2fs_free(run->filesystem);
  run->filesystem = NULL;
}

/* A run that gave up leaves e2fsck's variables as they were, with pointers to what is freed and answers that were never
 * meant for the next one. The latches of its problems are the only state outside the cleared range. */
static void reset_state(void) {
  memset(rootloom_e2fsck_state_begin, 0, (size_t)(rootloom_e2fsck_state_end - rootloom_e2fsck_state_begin));
  const int step = PR_LATCH_MASK & -PR_LATCH_MASK;
  for (int latch = step; latch <= PR_LATCH_MASK; latch += step) set_latch_flags(latch, 0, PRL_VARIABLE);
}

int rootloom_run_e2fsck(struct rootloom_engine_run* run) {
  char* arguments[] = {(char*)"e2fsck", (char*)run->device_name, NULL};
  if (!rootloom_engine_enter(run)) return FSCK_ERROR;
  reset_state();
  if (setjmp(run->exit_point) == 0) run->exit_code = rootloom_e2fsck_main(2, arguments);
  release(run);
  rootloom_engine_leave(run);
  return run->exit_code;
}

/* ---- e2fsck's problems and progress ---- */

static void stop_if_asked(void) {
  if (current_run->events.must_stop(current_run->events.owner)) rootloom_engine_exit(FSCK_CANCELED);
}

/* Answering yes to these throws away what the journal holds; the codes from pass 1 on belong to a full check, which
 * e2fsck begins by itself after that. */
static int discards_journal(problem_t code) {
  switch (code) {
    case PR_0_JOURNAL_BAD_INODE:
    case PR_0_JOURNAL_BAD_SUPER:
    case PR_0_JOURNAL_HAS_JOURNAL:
    case PR_0_JOURNAL_RECOVER_SET:
    case PR_0_JOURNAL_RECOVERY_CLEAR:
    case PR_0_JOURNAL_RESET_JOURNAL:
      return 1;
    default:
      return code >= PR_1_PASS_HEADER;
  }
}

int rootloom_engine_fix_problem(e2fsck_t ctx, problem_t code, struct problem_context* pctx) {
  struct rootloom_engine_run* run = current_run;
  stop_if_asked();
  finish_problem(run, 0); /* fatal_error may have left the one before without an answer */
  /* The codes with a zero part are the headers of the passes. */
  run->problem_open = (code & 0xfff) != 0;
  run->problem_code = code;
  if (run->keep_journal && discards_journal(code)) {
    ctx->options = (ctx->options & ~E2F_OPT_PREEN) | E2F_OPT_NO;
    fix_problem(ctx, code, pctx);
    rootloom_engine_exit(FSCK_UNCORRECTED);
  }
  const int fixed_before = ctx->flags & E2F_FLAG_PROBLEMS_FIXED;
  ctx->flags &= ~E2F_FLAG_PROBLEMS_FIXED;
  const int answer = fix_problem(ctx, code, pctx);
  const int fixed = (ctx->flags & E2F_FLAG_PROBLEMS_FIXED) != 0;
  ctx->flags |= fixed_before;
  finish_problem(run, fixed);
  return answer;
}

/* Called by fix_problem in the place of print_e2fsck_message: the text goes to the output and to the problem. */
void rootloom_engine_print_message(FILE* file, e2fsck_t ctx, const char* text, struct problem_context* pctx, int first,
                                   int recurse) {
  struct rootloom_engine_run* run = current_run;
  char* message = NULL;
  size_t length = 0;
  FILE* stream = open_memstream(&message, &length);
  if (stream == NULL) return;
  print_e2fsck_message(stream, ctx, text, pctx, first, recurse);
  fclose(stream);
  fwrite(message, 1, length, file);
  char* joined = run->problem_open ? realloc(run->message, run->message_length + length + 1) : NULL;
  if (joined != NULL) {
    memcpy(joined + run->message_length, message, length);
    run->message = joined;
    run->message_length += length;
  }
  free(message);
}

static int report_progress(e2fsck_t ctx, int pass, unsigned long current, unsigned long total) {
  stop_if_asked();
  ctx->flags |= E2F_FLAG_PROG_SUPPRESS; /* no bars in the output; a restart clears the flag */
  if (pass != 0) current_run->events.on_progress(current_run->events.owner, pass, current, total);
  return 0;
}

errcode_t rootloom_engine_allocate_context(e2fsck_t* context) {
  const errcode_t code = e2fsck_allocate_context(context);
  if (code != 0) return code;
  (*context)->progress = report_progress;
  current_run->context_exists = 1;
  return 0;
}

/* ---- Options and environment ---- */

int rootloom_engine_getopt(int argc, char* const* argv, const char* letters) {
  (void)argv, (void)letters;
  const struct rootloom_engine_option* option = &current_run->options[current_run->next_option];
  rootloom_engine_optind = argc - 1;
  if (option->letter == '\0') return -1;
  current_run->next_option += 1;
  rootloom_engine_optarg = (char*)option->argument;
  return option->letter;
}

char* rootloom_engine_getenv(const char* name) {
  if (strcmp(name, "E2FSCK_TIME") == 0) return current_run->now;
  /* New inode tables are zeroed, by a zeroout that costs nothing where the device reads as zeros already, so that
   * the kernel does not do it again later, and the host's kernel has no say in it. */
  if (strcmp(name, "RESIZE2FS_FORCE_ITABLE_INIT") == 0) return (char*)"1";
  return NULL;
}

int rootloom_engine_open(const char* path, int flags, ...) {
  (void)path, (void)flags;
  return 1000; /* e2fsck makes sure that descriptors 0 to 2 are taken; nothing is ever done with the answer */
}
int rootloom_engine_close(int fd) { return (void)fd, 0; }
ssize_t rootloom_engine_read(int fd, void* buffer, size_t size) { return (void)fd, (void)buffer, (void)size, 0; }
ssize_t rootloom_engine_write(int fd, const void* buffer, size_t size) { return (void)fd, (void)buffer, (ssize_t)size; }
int rootloom_engine_access(const char* path, int mode) { return (void)path, (void)mode, -1; }
FILE* rootloom_engine_fopen(const char* path, const char* mode) { return (void)path, (void)mode, NULL; }
DIR* rootloom_engine_opendir(const char* path) { return (void)path, NULL; }

/* ---- Random numbers ---- */

/* Version 4 of RFC 9562. Without random numbers, which every kernel of today has, the rest of the UUID stays zero. */
void rootloom_engine_generate_uuid(unsigned char* uuid) {
  memset(uuid, 0, 16);
  if (getrandom(uuid, 16, 0) < 0) uuid[15] = 1;
  uuid[6] = (unsigned char)((uuid[6] & 0x0f) | 0x40);
  uuid[8] = (unsigned char)((uuid[8] & 0x3f) | 0x80);
}

/* ---- The device ---- */

errcode_t rootloom_engine_device_size2(const char* name, int block_size, blk64_t* blocks) {
  (void)name;
  *blocks = current_run->device_size / (unsigned)block_size;
  return 0;
}

errcode_t rootloom_engine_check_if_mounted(const char* name, int* flags) {
  (void)name;
  *flags = 0;
  return 0;
}

/* In the place of libext2fs' own, which looks into the host's list of mounts when it makes a journal. */
errcode_t ext2fs_check_mount_point(const char* name, int* flags, char* where, int length) {
  (void)where, (void)length;
  return rootloom_engine_check_if_mounted(name, flags);
}

int rootloom_engine_check_plausibility(const char* name, int flags, int* is_device) {
  (void)name, (void)flags, (void)is_device;
  return 1;
}

/* ---- What e2fsck asks other libraries of the host for: its configuration, other devices, a log file ---- */

long profile_init(const char* const* files, profile_t* profile) {
  (void)files;
  *profile = NULL;
  return 0;
}
void profile_release(profile_t profile) { (void)profile; }
profile_syntax_err_cb_t profile_set_syntax_err_cb(profile_syntax_err_cb_t hook) { return hook; }
long profile_get_string(profile_t profile, const char* name, const char* subname, const char* subsubname,
                        const char* fallback, char** value) {
  (void)profile, (void)name, (void)subname, (void)subsubname;
  *value = fallback == NULL ? NULL : strdup(fallback);
  return 0;
}
long profile_get_integer(profile_t profile, const char* name, const char* subname, const char* subsubname, int fallback,
                         int* value) {
  (void)profile, (void)name, (void)subname, (void)subsubname;
  *value = fallback;
  return 0;
}
long profile_get_uint(profile_t profile, const char* name, const char* subname, const char* subsubname,
                      unsigned fallback, unsigned* value) {
  (void)profile, (void)name, (void)subname, (void)subsubname;
  *value = fallback;
  return 0;
}
long profile_get_boolean(profile_t profile, const char* name, const char* subname, const char* subsubname, int fallback,
                         int* value) {
  return profile_get_integer(profile, name, subname, subsubname, fallback, value);
}

int blkid_get_cache(blkid_cache* cache, const char* path) {
  (void)path;
  *cache = NULL;
  return 0;
}
void blkid_put_cache(blkid_cache cache) { (void)cache; }
char* blkid_get_devname(blkid_cache cache, const char* token, const char* value) {
  return (void)cache, (void)token, (void)value, NULL;
}
char* blkid_devno_to_devname(dev_t device) { return (void)device, NULL; }
char* get_devname(blkid_cache cache, const char* token, const char* value) {
  return (void)cache, (void)value, strdup(token);
}

void set_up_logging(e2fsck_t ctx) { (void)ctx; }
void sigcatcher_setup(void) {}
void read_bad_blocks_file(e2fsck_t ctx, const char* path, int replace) { (void)ctx, (void)path, (void)replace; }
