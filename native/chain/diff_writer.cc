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

uint64_t LengthOf(std::span<const iovec> data) {
  uint64_t length_bytes = 0;
  for (const iovec& part : data) length_bytes += part.iov_len;
  return length_bytes;
}

bool IsAligned(std::span<const iovec> data) {
  return std::ranges::all_of(data, [](const iovec& part) {
    const auto address = reinterpret_cast<uintptr_t>(part.iov_base);
    return address % AlignedBuffer::kAlignment == 0 && part.iov_len % AlignedBuffer::kAlignment == 0;
  });
}

}  // namespace

Result<std::unique_ptr<DiffWriter>> DiffWriter::Create(const std::string& path, uint16_t source) {
  ROOTLOOM_ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  return std::unique_ptr<DiffWriter>(new DiffWriter(std::move(file), source));
}

uint64_t DiffWriter::PlaceData(uint64_t offset_bytes, uint64_t length_bytes) {
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes),
                                   .storage_pages = static_cast<uint32_t>(size_bytes_ / kPageBytes),
                                   .source = source_});
  return std::exchange(size_bytes_, size_bytes_ + length_bytes);
}

void DiffWriter::WriteDirectly(uint64_t most_bytes) {
  Result<UniqueFd> direct = OpenFile(file_.path(), O_WRONLY | O_DIRECT);
  if (!direct.ok()) return;
  direct_ = std::move(direct.value());
  most_bytes_ = most_bytes;
}

void DiffWriter::MakeRoom(uint64_t end_bytes) {
  std::lock_guard lock(room_mutex_);
  if (end_bytes <= room_bytes_) return;
  end_bytes = std::max(end_bytes, std::min(most_bytes_, end_bytes + kRoomBytes));
  // Where there can be none, the write will tell.
  (void)::fallocate(file_.fd(), 0, static_cast<off_t>(room_bytes_), static_cast<off_t>(end_bytes - room_bytes_));
  room_bytes_ = end_bytes;
}

Status DiffWriter::Finish() {
  if (room_bytes_ > size_bytes_ && ::ftruncate(file_.fd(), static_cast<off_t>(size_bytes_)) != 0) {
    return Status::Errno("write", file_.path(), errno);
  }
  return file_.Sync();
}

void DiffWriter::PlaceZeros(uint64_t offset_bytes, uint64_t length_bytes) {
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes)});
}

Status DiffWriter::Write(uint64_t storage_bytes, std::span<iovec> data) {
  const uint64_t length_bytes = LengthOf(data);
  if (direct_.valid()) MakeRoom(storage_bytes + length_bytes);
  if (direct_.valid() && length_bytes >= kLeastDirectBytes && IsAligned(data)) {
    // Kept, for a write that fails half-way has changed it.
    std::vector<iovec> parts(data.begin(), data.end());
    const Status status = PwritevAll(direct_.get(), parts, storage_bytes, file_.path());
    // A filesystem may let a file be opened so, and refuse to write to it.
    if (status.ok() || status.failure().error_number != EINVAL) return status;
  }
  return PwritevAll(file_.fd(), data, storage_bytes, file_.path());
}

bool DiffWriter::Share(int fd, uint64_t fd_offset_bytes, uint64_t storage_bytes, uint64_t length_bytes) {
  if (!can_share_.load(std::memory_order_relaxed)) return false;
  const bool shared = ShareRange({.source_fd = fd,
                                  .source_offset_bytes = fd_offset_bytes,
                                  .target_fd = file_.fd(),
                                  .target_offset_bytes = storage_bytes,
                                  .length_bytes = length_bytes});
  if (!shared) can_share_.store(false, std::memory_order_relaxed);
  return shared;
}

Status DiffWriter::StoreUpTo(uint64_t end_bytes) {
  const uint64_t from = std::exchange(stored_to_bytes_, end_bytes);
  return store_.Wrote(file_.fd(), end_bytes, end_bytes - from, file_.path());
}

}  // namespace rootloom
