#include "native/ext4/tree_content_stream.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr size_t kPieceBytes = 1 << 20;

}  // namespace

Result<ContentSource::Piece> MemorySource::Next(const CallContext& /*context*/) {
  if (std::exchange(given_, true)) return Piece{.offset_bytes = data_.size(), .data = {}};
  return Piece{.offset_bytes = 0, .data = data_};
}

Result<HostFileSource> HostFileSource::Open(int fd, const std::string& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return Status::Errno("stat", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = "copy in",
                   .detail = "it is not a regular file",
                   .path = path,
                   .error_number = S_ISDIR(info.st_mode) ? EISDIR : EINVAL};
  }
  return HostFileSource(fd, path, static_cast<uint64_t>(info.st_size));
}

Result<ContentSource::Piece> HostFileSource::Next(const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("read a file of the host"));
  const Piece end{.offset_bytes = size_bytes_, .data = {}};
  if (offset_bytes_ >= size_bytes_) return end;
  const off_t data = ::lseek(fd_, static_cast<off_t>(offset_bytes_), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return end;
  // Where holes cannot be asked for, everything is data.
  if (data > 0) offset_bytes_ = std::min(static_cast<uint64_t>(data), size_bytes_);
  buffer_.resize(std::min<uint64_t>(kPieceBytes, size_bytes_ - offset_bytes_));
  ROOTLOOM_RETURN_IF_ERROR(PreadAll(fd_, buffer_, offset_bytes_, path_));
  const Piece piece{.offset_bytes = offset_bytes_, .data = buffer_};
  offset_bytes_ += buffer_.size();
  return piece;
}

}  // namespace rootloom
