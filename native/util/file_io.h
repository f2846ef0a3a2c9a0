// Whole-buffer file I/O: retries EINTR and short transfers, and reports a short file as an error.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom {

// Opens with O_CLOEXEC added. mode matters only with O_CREAT.
Result<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode = 0600);

// Reads exactly buffer.size() bytes at offset_bytes. An end of file before that is kIo with EIO.
// path is only for the error.
Status PreadAll(int fd, std::span<std::byte> buffer, uint64_t offset_bytes, const std::string& path);

// Writes all of data at offset_bytes.
Status PwriteAll(int fd, std::span<const std::byte> data, uint64_t offset_bytes, const std::string& path);

struct CopyRangeArgs {
  int source_fd;
  uint64_t source_offset_bytes;
  int target_fd;
  uint64_t target_offset_bytes;
  uint64_t length_bytes;
};
// Copies inside the kernel with copy_file_range (a reflink where the filesystem can), and falls back to a bounded
// buffer where it cannot. path names the target, for the error.
Status CopyRange(const CopyRangeArgs& args, const std::string& path);

// fsync of a file or folder by path; of a descriptor with SyncFd.
Status SyncPath(const std::string& path);
Status SyncFd(int fd, const std::string& path);

Result<uint64_t> FileSize(int fd, const std::string& path);

// True when every byte is zero. Vectorised by the compiler; the first 64 bytes decide almost every non-zero block.
bool IsAllZero(std::span<const std::byte> data);

}  // namespace rootloom
