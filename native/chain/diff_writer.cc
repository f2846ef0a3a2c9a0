#include "native/chain/diff_writer.h"

#include <fcntl.h>

#include <cerrno>

#include "native/util/file_io.h"

namespace rootloom {

namespace {

// Stored in some ten milliseconds by a slow disk.
constexpr uint64_t kStoreBytes = 4 << 20;

// The ways in which a filesystem says that it does not know this call.
bool IsNotKnown(int error_number) {
  return error_number == ENOSYS || error_number == EINVAL || error_number == EOPNOTSUPP;
}

}  // namespace

Result<DiffWriter> DiffWriter::Create(const std::string& path, uint16_t source) {
  ROOTLOOM_ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  return DiffWriter(std::move(file), source);
}

Status DiffWriter::AddData(uint64_t offset_bytes, std::span<const std::byte> data) {
  ROOTLOOM_RETURN_IF_ERROR(PwriteAll(file_.fd(), data, size_bytes_, file_.path()));
  Map(offset_bytes, data.size(), source_);
  return StoreBehind();
}

Status DiffWriter::AddDataFrom(int fd, uint64_t fd_offset_bytes, uint64_t offset_bytes, uint64_t length_bytes) {
  ROOTLOOM_RETURN_IF_ERROR(CopyRange({.source_fd = fd,
                                      .source_offset_bytes = fd_offset_bytes,
                                      .target_fd = file_.fd(),
                                      .target_offset_bytes = size_bytes_,
                                      .length_bytes = length_bytes},
                                     file_.path()));
  Map(offset_bytes, length_bytes, source_);
  return StoreBehind();
}

void DiffWriter::AddZeros(uint64_t offset_bytes, uint64_t length_bytes) {
  Map(offset_bytes, length_bytes, kZeroSource);
}

void DiffWriter::Map(uint64_t offset_bytes, uint64_t length_bytes, uint16_t source) {
  const bool stored = source != kZeroSource;
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes),
                                   .storage_pages = stored ? static_cast<uint32_t>(size_bytes_ / kPageBytes) : 0,
                                   .source = source});
  if (stored) size_bytes_ += length_bytes;
}

Status DiffWriter::StoreBehind() {
  for (; size_bytes_ - stored_bytes_ >= kStoreBytes; stored_bytes_ += kStoreBytes) {
    const auto begin = static_cast<off64_t>(stored_bytes_);
    int result = ::sync_file_range(file_.fd(), begin, kStoreBytes, SYNC_FILE_RANGE_WRITE);
    if (result == 0 && stored_bytes_ > 0) {
      // Waits for the part before this one. A lost write is told only once, here or by the sync: neither may be missed.
      result = ::sync_file_range(file_.fd(), begin - static_cast<off64_t>(kStoreBytes), kStoreBytes,
                                 SYNC_FILE_RANGE_WAIT_BEFORE);
    }
    if (result != 0 && !IsNotKnown(errno)) return Status::Errno("sync", file_.path(), errno, stored_bytes_);
  }
  return Status::Ok();
}

}  // namespace rootloom
