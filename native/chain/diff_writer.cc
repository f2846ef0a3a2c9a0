#include "native/chain/diff_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "native/util/aligned_buffer.h"

namespace rootloom {

namespace {

constexpr uint64_t kRoomBytes = 256 << 20;
// What is shorter costs more past the page cache than through it.
constexpr uint64_t kLeastDirectBytes = 256 << 10;

bool CanBeDirect(std::span<const iovec> data) {
  uint64_t length_bytes = 0;
  for (const iovec& part : data) {
    const auto address = reinterpret_cast<uintptr_t>(part.iov_base);
    if (address % AlignedBuffer::kAlignment != 0 || part.iov_len % AlignedBuffer::kAlignment != 0) return false;
    length_bytes += part.iov_len;
  }
  return length_bytes >= kLeastDirectBytes;
}

}  // namespace

Result<DiffWriter> DiffWriter::Create(const std::string& path, uint16_t source) {
  ROOTLOOM_ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  return DiffWriter(std::move(file), source);
}

uint64_t DiffWriter::PlaceData(uint64_t offset_bytes, uint64_t length_bytes) {
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes),
                                   .storage_pages = static_cast<uint32_t>(size_bytes_ / kPageBytes),
                                   .source = source_});
  const uint64_t place_bytes = std::exchange(size_bytes_, size_bytes_ + length_bytes);
  if (size_bytes_ > allocated_bytes_ && most_bytes_ > 0) MakeRoom();
  return place_bytes;
}

void DiffWriter::WriteDirectly(uint64_t most_bytes) {
  Result<UniqueFd> direct = OpenFile(file_.path(), O_WRONLY | O_DIRECT);
  if (!direct.ok()) return;
  direct_ = std::move(direct.value());
  most_bytes_ = most_bytes;
}

void DiffWriter::MakeRoom() {
  const uint64_t end_bytes = std::max(size_bytes_, std::min(most_bytes_, size_bytes_ + kRoomBytes));
  // Where there can be none, the write will tell.
  (void)::fallocate(file_.fd(), 0, static_cast<off_t>(allocated_bytes_),
                    static_cast<off_t>(end_bytes - allocated_bytes_));
  allocated_bytes_ = end_bytes;
}

Status DiffWriter::Finish() {
  if (allocated_bytes_ > size_bytes_ && ::ftruncate(file_.fd(), static_cast<off_t>(size_bytes_)) != 0) {
    return Status::Errno("write", file_.path(), errno);
  }
  return file_.Sync();
}

void DiffWriter::PlaceZeros(uint64_t offset_bytes, uint64_t length_bytes) {
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes)});
}

Status DiffWriter::Write(uint64_t storage_bytes, std::span<iovec> data) const {
  if (direct_.valid() && CanBeDirect(data)) {
    // Kept, for a write that fails half-way has changed it.
    std::vector<iovec> parts(data.begin(), data.end());
    const Status status = PwritevAll(direct_.get(), parts, storage_bytes, file_.path());
    // A filesystem may let a file be opened so, and refuse to write to it.
    if (status.ok() || status.failure().error_number != EINVAL) return status;
  }
  return PwritevAll(file_.fd(), data, storage_bytes, file_.path());
}

Status DiffWriter::WriteFrom(int fd, uint64_t fd_offset_bytes, uint64_t storage_bytes, uint64_t length_bytes) const {
  return CopyRange({.source_fd = fd,
                    .source_offset_bytes = fd_offset_bytes,
                    .target_fd = file_.fd(),
                    .target_offset_bytes = storage_bytes,
                    .length_bytes = length_bytes},
                   file_.path());
}

Status DiffWriter::StoreUpTo(uint64_t end_bytes) {
  const uint64_t from = std::exchange(stored_to_bytes_, end_bytes);
  return store_.Wrote(file_.fd(), end_bytes, end_bytes - from, file_.path());
}

}  // namespace rootloom
