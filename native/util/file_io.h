// Whole-buffer file I/O: retries EINTR and short transfers, and reports a short file as an error.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

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

// The same into several buffers, one after the other. Changes the elements of buffers.
Status PreadvAll(int fd, std::span<iovec> buffers, uint64_t offset_bytes, const std::string& path);

// Has the kernel begin to read a part of a file. A hint: it cannot fail.
void AdviseRead(int fd, uint64_t offset_bytes, uint64_t length_bytes);

// Writes all of data at offset_bytes.
Status PwriteAll(int fd, std::span<const std::byte> data, uint64_t offset_bytes, const std::string& path);

// The same from several buffers, one after the other. Changes the elements of buffers.
Status PwritevAll(int fd, std::span<iovec> buffers, uint64_t offset_bytes, const std::string& path);
// Data as one of these: a write only reads it.
inline iovec BufferOf(std::span<const std::byte> data) { return {const_cast<std::byte*>(data.data()), data.size()}; }

struct ShareRangeArgs {
  int source_fd;
  uint64_t source_offset_bytes;
  int target_fd;
  uint64_t target_offset_bytes;
  uint64_t length_bytes;
};
// Has a range of the target share the source's blocks, which moves no data. False when that cannot be: the filesystem
// does not know it, the files are not in the same one, or the range is not of whole blocks. What the range of the
// target holds is undefined then.
bool ShareRange(const ShareRangeArgs& args);

// fsync of a file or folder by path; of a descriptor with SyncFd.
Status SyncPath(const std::string& path);
Status SyncFd(int fd, const std::string& path);

// Has the kernel store what was written to a file a bounded part at a time, so that a sync at the end finds little left
// to do, and whoever moves gigabytes can be cancelled at any moment. Not thread-safe; one file each.
class StoreBehind {
 public:
  // Notes that range_bytes were written, the last of them before end_bytes; ranges come in ascending order. Once
  // kPartBytes have gathered, begins to store them, and waits until the part before is stored. Fails when the kernel
  // says that written data was lost, which it tells only once, here or by a sync: neither may be missed. Where the
  // filesystem does not know this, it does nothing.
  Status Wrote(int fd, uint64_t end_bytes, uint64_t range_bytes, const std::string& path);

 private:
  // Stored in some ten milliseconds by a slow disk.
  static constexpr uint64_t kPartBytes = 4 << 20;

  uint64_t waiting_from_bytes_ = 0;  // what is stored or being stored ends here
  uint64_t waiting_bytes_ = 0;       // written since
  uint64_t begun_from_bytes_ = 0;    // the part that is being stored begins here
};

// Waits until those pages of the range that the kernel is storing right now are stored; begins to store none. Fails
// when it says that written data of the file was lost, which it tells only once, here or by a sync. Where the
// filesystem does not know this, it syncs.
Status AwaitStored(int fd, uint64_t offset_bytes, uint64_t length_bytes, const std::string& path);

Result<uint64_t> FileSize(int fd, const std::string& path);

// True when every byte is zero. As fast as the C library compares memory, which is with the widest vectors that the
// processor has; the first 64 bytes decide almost every block that is not zero, so that this costs next to nothing.
bool IsAllZero(std::span<const std::byte> data);

}  // namespace rootloom
