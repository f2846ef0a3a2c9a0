#include "native/util/file_io.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace rootloom {

namespace {

// The ways in which a filesystem says that it does not know sync_file_range.
bool CannotStoreRanges(int error_number) {
  return error_number == ENOSYS || error_number == EINVAL || error_number == EOPNOTSUPP || error_number == ESPIPE;
}

// Takes the first count bytes away, and the empty buffers that then come first.
void DropDone(std::span<iovec>& buffers, size_t count) {
  while (!buffers.empty() && count >= buffers.front().iov_len) {
    count -= buffers.front().iov_len;
    buffers = buffers.subspan(1);
  }
  if (count == 0) return;
  buffers.front().iov_base = static_cast<std::byte*>(buffers.front().iov_base) + count;
  buffers.front().iov_len -= count;
}

size_t TotalBytes(std::span<const iovec> buffers) {
  size_t total = 0;
  for (const iovec& buffer : buffers) total += buffer.iov_len;
  return total;
}

}  // namespace

Result<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode) {
  for (;;) {
    int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return UniqueFd(fd);
    if (errno != EINTR) return Status::Errno("open", path, errno);
  }
}

Status PreadAll(int fd, std::span<std::byte> buffer, uint64_t offset_bytes, const std::string& path) {
  iovec whole{buffer.data(), buffer.size()};
  return PreadvAll(fd, {&whole, 1}, offset_bytes, path);
}

Status PreadvAll(int fd, std::span<iovec> buffers, uint64_t offset_bytes, const std::string& path) {
  const auto read = [&] {
    return buffers.size() == 1
               ? ::pread(fd, buffers[0].iov_base, buffers[0].iov_len, static_cast<off_t>(offset_bytes))
               : ::preadv(fd, buffers.data(), static_cast<int>(buffers.size()), static_cast<off_t>(offset_bytes));
  };
  for (DropDone(buffers, 0); !buffers.empty();) {
    const ssize_t count = read();
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Status::Errno("read", path, errno, offset_bytes);
    if (count == 0) {
      Status status = Status::Errno("read", path, EIO, offset_bytes);
      status.failure().detail =
          "the file ends " + std::to_string(TotalBytes(buffers)) + " bytes before the end of the wanted range";
      return status;
    }
    DropDone(buffers, static_cast<size_t>(count));
    offset_bytes += static_cast<uint64_t>(count);
  }
  return Status::Ok();
}

void AdviseRead(int fd, uint64_t offset_bytes, uint64_t length_bytes) {
  ::posix_fadvise(fd, static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes), POSIX_FADV_WILLNEED);
}

Status PwriteAll(int fd, std::span<const std::byte> data, uint64_t offset_bytes, const std::string& path) {
  iovec whole = BufferOf(data);
  return PwritevAll(fd, {&whole, 1}, offset_bytes, path);
}

Status PwritevAll(int fd, std::span<iovec> buffers, uint64_t offset_bytes, const std::string& path) {
  const auto write = [&] {
    return buffers.size() == 1
               ? ::pwrite(fd, buffers[0].iov_base, buffers[0].iov_len, static_cast<off_t>(offset_bytes))
               : ::pwritev(fd, buffers.data(), static_cast<int>(buffers.size()), static_cast<off_t>(offset_bytes));
  };
  for (DropDone(buffers, 0); !buffers.empty();) {
    const ssize_t count = write();
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Status::Errno("write", path, count < 0 ? errno : ENOSPC, offset_bytes);
    DropDone(buffers, static_cast<size_t>(count));
    offset_bytes += static_cast<uint64_t>(count);
  }
  return Status::Ok();
}

bool ShareRange(const ShareRangeArgs& args) {
  file_clone_range range{.src_fd = args.source_fd,
                         .src_offset = args.source_offset_bytes,
                         .src_length = args.length_bytes,
                         .dest_offset = args.target_offset_bytes};
  return ::ioctl(args.target_fd, FICLONERANGE, &range) == 0;
}

Status SyncFd(int fd, const std::string& path) {
  if (::fsync(fd) != 0) return Status::Errno("sync", path, errno);
  return Status::Ok();
}

Status SyncPath(const std::string& path) {
  ROOTLOOM_ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_RDONLY));
  return SyncFd(fd.get(), path);
}

Status StoreBehind::Wrote(int fd, uint64_t end_bytes, uint64_t range_bytes, const std::string& path) {
  waiting_bytes_ += range_bytes;
  if (waiting_bytes_ < kPartBytes) return Status::Ok();
  const auto store = [fd](uint64_t from, uint64_t to, unsigned flags) {
    return ::sync_file_range(fd, static_cast<off64_t>(from), static_cast<off64_t>(to - from), flags);
  };
  int result = store(waiting_from_bytes_, end_bytes, SYNC_FILE_RANGE_WRITE);
  // An empty range would mean all up to the end of the file.
  if (result == 0 && begun_from_bytes_ < waiting_from_bytes_) {
    result = store(begun_from_bytes_, waiting_from_bytes_, SYNC_FILE_RANGE_WAIT_BEFORE);
  }
  if (result != 0 && !CannotStoreRanges(errno)) return Status::Errno("sync", path, errno, begun_from_bytes_);
  begun_from_bytes_ = std::exchange(waiting_from_bytes_, end_bytes);
  waiting_bytes_ = 0;
  return Status::Ok();
}

Status AwaitStored(int fd, uint64_t offset_bytes, uint64_t length_bytes, const std::string& path) {
  const int result = ::sync_file_range(fd, static_cast<off64_t>(offset_bytes), static_cast<off64_t>(length_bytes),
                                       SYNC_FILE_RANGE_WAIT_BEFORE);
  if (result == 0) return Status::Ok();
  if (!CannotStoreRanges(errno)) return Status::Errno("sync", path, errno, offset_bytes);
  return ::fdatasync(fd) == 0 ? Status::Ok() : Status::Errno("sync", path, errno);
}

Result<uint64_t> FileSize(int fd, const std::string& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return Status::Errno("stat", path, errno);
  return static_cast<uint64_t>(info.st_size);
}

bool IsAllZero(std::span<const std::byte> data) {
  static constexpr std::byte kZeros[64]{};
  const size_t head = std::min(data.size(), sizeof kZeros);
  // Data whose head is zero is zero exactly when it equals itself shifted by the head.
  return data.empty() || (std::memcmp(data.data(), kZeros, head) == 0 &&
                          std::memcmp(data.data(), data.data() + head, data.size() - head) == 0);
}

}  // namespace rootloom
