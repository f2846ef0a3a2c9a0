/* Included before everything else in each e2fsprogs program source that is compiled into this room (see run.h).
 *
 * The system headers come first, so that their declarations stay as they are; then the names that would print, end
 * the process, read the host's configuration or change process-wide state are taken over.
 */
#ifndef ROOTLOOM_NATIVE_EXT4_ENGINE_SHIM_H_
#define ROOTLOOM_NATIVE_EXT4_ENGINE_SHIM_H_

#include <dirent.h>
#include <et/com_err.h>
#include <fcntl.h>
#include <getopt.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Output. */
FILE* rootloom_engine_output(void);
#undef stdout
#undef stderr
#define stdout rootloom_engine_output()
#define stderr rootloom_engine_output()
#define printf(...) fprintf(rootloom_engine_output(), __VA_ARGS__)
#define vprintf(format, arguments) vfprintf(rootloom_engine_output(), format, arguments)
#define puts(text) fprintf(rootloom_engine_output(), "%s\n", text)
#define putchar(character) fputc(character, rootloom_engine_output())
#define perror(text) fprintf(rootloom_engine_output(), "%s\n", text)
#define setvbuf(...) 0

/* Error texts: one table, registered once; no hooks that other threads would see. */
void rootloom_engine_com_err(const char* whoami, errcode_t code, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
#define com_err rootloom_engine_com_err
#define add_error_table(table) 0
#define remove_error_table(table) 0
#define set_com_err_hook(hook) ((void)(hook))
#define reset_com_err_hook() ((void)0)

/* The end of the program. */
void rootloom_engine_exit(int code) __attribute__((noreturn));
#define exit rootloom_engine_exit
#define abort() rootloom_engine_exit(8)

/* Memory: watched, because a program that ends has no need to free, and a run that gives up has. */
void rootloom_engine_free(void* memory);
#define free rootloom_engine_free

/* Options: from the run. */
int rootloom_engine_getopt(int argc, char* const* argv, const char* letters);
extern char* rootloom_engine_optarg;
extern int rootloom_engine_optind;
#undef getopt
#define getopt rootloom_engine_getopt
#undef optarg
#define optarg rootloom_engine_optarg
#undef optind
#define optind rootloom_engine_optind

/* The host: no environment, files, terminal, signals or processes. */
char* rootloom_engine_getenv(const char* name);
#define getenv(name) rootloom_engine_getenv(name)
#define putenv(text) 0
#define isatty(fd) 0
#define sleep(seconds) 0
/* Times as text are UTC's: equal inputs give equal output, wherever the host is. */
#define localtime(time) gmtime(time)
#define ctime(time) asctime(gmtime(time))
#define tcgetattr(...) (-1)
#define tcsetattr(...) (-1)
#define sigaction(...) 0
/* Names that are members of structures too are replaced as words, in declarations as in calls. */
int rootloom_engine_open(const char* path, int flags, ...);
int rootloom_engine_close(int fd);
ssize_t rootloom_engine_read(int fd, void* buffer, size_t size);
ssize_t rootloom_engine_write(int fd, const void* buffer, size_t size);
int rootloom_engine_access(const char* path, int mode);
FILE* rootloom_engine_fopen(const char* path, const char* mode);
DIR* rootloom_engine_opendir(const char* path);
#define open rootloom_engine_open
#define close rootloom_engine_close
#define read rootloom_engine_read
#define write rootloom_engine_write
#define access rootloom_engine_access
#define fopen rootloom_engine_fopen
#define opendir rootloom_engine_opendir

/* Random numbers: from the kernel, without a file. */
#define uuid_generate rootloom_engine_generate_uuid

/* The device: DeviceIo's manager in the place of files. */
#define unix_io_manager rootloom_engine_io_manager
#define ext2fs_get_device_size2 rootloom_engine_device_size2
#define ext2fs_check_if_mounted rootloom_engine_check_if_mounted
#define check_plausibility rootloom_engine_check_plausibility

#endif /* ROOTLOOM_NATIVE_EXT4_ENGINE_SHIM_H_ */
