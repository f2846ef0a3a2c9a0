#include "native/block/file_device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "native/block/extent_list.h"
#include "native/block/parts.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr uint64_t kZeroPieceBytes = 1 << 20;

Result<uint64_t> SizeOfRegularFile(int fd, const std::string& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return Status::Errno("stat", path, errno);
  if (S_ISREG(info.st_mode)) return static_cast<uint64_t>(info.st_size);
  return Failure{.kind = StatusKind::kUnsupported,
                 .operation = "open disk image",
                 .detail = "it is not a regular file",
                 .path = path};
}

Result<UniqueFd> CreateSparseFile(const std::string& path, uint64_t size_bytes) {
  ROOTLOOM_ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_RDWR | O_CREAT | O_EXCL));
  const bool too_large = size_bytes > static_cast<uint64_t>(INT64_MAX);
  if (too_large || ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) {
    const int error_number = too_large ? EFBIG : errno;
    ::unlink(path.c_str());
    return Status::Errno("resize", path, error_number);
  }
  return fd;
}

}  // namespace

Result<std::shared_ptr<FileDevice>> FileDevice::Open(const std::string& path, const FileDeviceOptions& options) {
  ROOTLOOM_RETURN_IF_ERROR(CheckBlockSize("open disk image", options.block_size));
  if (options.create_size_bytes.has_value() && !options.writable) {
    return Status::Invalid("create disk image", "it would be read-only, it must be writable");
  }
  // O_NONBLOCK: opening a fifo by mistake must not wait for its other end. It means nothing for a regular file.
  Result<UniqueFd> opened = options.create_size_bytes.has_value()
                                ? CreateSparseFile(path, *options.create_size_bytes)
                                : OpenFile(path, (options.writable ? O_RDWR : O_RDONLY) | O_NONBLOCK);
  ROOTLOOM_ASSIGN_OR_RETURN(UniqueFd fd, std::move(opened));
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t size_bytes, SizeOfRegularFile(fd.get(), path));
  return std::shared_ptr<FileDevice>(new FileDevice(path, std::move(fd), size_bytes, options));
}

FileDevice::FileDevice(std::string path, UniqueFd fd, uint64_t size_bytes, const FileDeviceOptions& options)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      size_bytes_(size_bytes),
      block_size_(options.block_size),
      writable_(options.writable) {}

Status FileDevice::Flush() { return writable_ ? sync_.Sync(fd_.get(), path_) : Status::Ok(); }

Status FileDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  return PreadAll(fd_.get(), buffer, offset_bytes, path_);
}

Status FileDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  ROOTLOOM_RETURN_IF_ERROR(PwriteAll(fd_.get(), data, offset_bytes, path_));
  return durability == Durability::kDurable ? Flush() : Status::Ok();
}

void FileDevice::DoWriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes) {
  iovec pieces[kMaxRowPieces];
  for (size_t index = 0; index < row.size(); ++index) pieces[index] = BufferOf(row[index]);
  const bool written = PwritevAll(fd_.get(), {pieces, row.size()}, offset_bytes, path_).ok();
  if (!written || (durability == Durability::kDurable && !Flush().ok())) {
    return Device::DoWriteRow(offset_bytes, row, durability, outcomes);
  }
  std::ranges::fill(outcomes, Status::Ok());
}

Status FileDevice::DoZero(Range range, Durability durability) {
  // A last block that the end of the file cuts short is freed only when the hole covers all of it.
  if (range.end_bytes() == size_bytes_) range.length_bytes += (block_size_ - size_bytes_ % block_size_) % block_size_;
  const int punched = ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  static_cast<off_t>(range.offset_bytes), static_cast<off_t>(range.length_bytes));
  if (punched != 0) {
    if (errno != EOPNOTSUPP && errno != ENOSYS) return Status::Errno("zero", path_, errno, range.offset_bytes);
    ROOTLOOM_RETURN_IF_ERROR(WriteZeros(range));
  }
  return durability == Durability::kDurable ? Flush() : Status::Ok();
}

Status FileDevice::WriteZeros(Range range) {
  range.length_bytes = std::min(range.length_bytes, size_bytes_ - range.offset_bytes);
  const std::vector<std::byte> zeros(std::min(range.length_bytes, kZeroPieceBytes));
  return ForEachPart(range, kZeroPieceBytes, [&](Range part) {
    return PwriteAll(fd_.get(), std::span(zeros).first(part.length_bytes), part.offset_bytes, path_);
  });
}

Status FileDevice::DoTrim(Range range) {
  const Range whole = WholeBlocks(range, block_size_, size_bytes_);
  return whole.length_bytes == 0 ? Status::Ok() : DoZero(whole, Durability::kBuffered);
}

void FileDevice::DoPrefetch(std::span<const Range> ranges) {
  for (const Range& range : ranges) AdviseRead(fd_.get(), range.offset_bytes, range.length_bytes);
}

Result<std::vector<Extent>> FileDevice::DoExtents(Range range, size_t max_count) {
  ExtentList extents(max_count);
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes();) {
    // lseek moves the descriptor's position, which nothing here uses.
    const off_t found = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
    if (found < 0 && errno != ENXIO) return Status::Errno("map extents of", path_, errno, offset);
    // ENXIO: no data up to the end of the file.
    const uint64_t data = found < 0 ? range.end_bytes() : std::min(static_cast<uint64_t>(found), range.end_bytes());
    if (!extents.Add({{offset, data - offset}, ExtentKind::kHole})) break;
    offset = data;
    if (offset == range.end_bytes()) break;
    const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_HOLE);
    if (hole < 0) return Status::Errno("map extents of", path_, errno, offset);
    const uint64_t end = std::min(static_cast<uint64_t>(hole), range.end_bytes());
    if (end == offset) continue;  // A hole was made at offset just now.
    if (!extents.Add({{offset, end - offset}, ExtentKind::kData})) break;
    offset = end;
  }
  return std::move(extents).Take();
}

}  // namespace rootloom
