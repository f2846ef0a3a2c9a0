#include "native/chain/diff.h"

#include <fcntl.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "native/chain/lz4_frame.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr char kReadDiff[] = "read diff";

// Writers use frames of 2 MiB. What a header may make a reader allocate for one frame is bounded well above that.
constexpr uint32_t kMaxFrameBytes = 64 << 20;

Status UnpackZstd(std::span<const std::byte> packed, std::span<std::byte> target) {
  const size_t size = ZSTD_decompress(target.data(), target.size(), packed.data(), packed.size());
  if (ZSTD_isError(size)) {
    return Status::Corrupt(kReadDiff, std::string("its zstd frame is damaged: ") + ZSTD_getErrorName(size));
  }
  if (size != target.size()) return Status::Corrupt(kReadDiff, "its zstd frame holds less than it claims");
  return Status::Ok();
}

// A diff never changes, and who reads it when is nobody's concern: the kernel need not look at the file's times with
// each read. It lets only the file's owner ask for that.
Result<UniqueFd> OpenWithoutAccessTime(const std::string& path) {
  Result<UniqueFd> opened = OpenFile(path, O_RDONLY | O_NOATIME);
  const bool refused = !opened.ok() && opened.status().failure().error_number == EPERM;
  return refused ? OpenFile(path, O_RDONLY) : std::move(opened);
}

}  // namespace

Status Diff::Read(uint64_t offset_bytes, std::span<std::byte> buffer) {
  iovec whole{buffer.data(), buffer.size()};
  return Read(offset_bytes, {&whole, 1});
}

Status Diff::Read(uint64_t offset_bytes, std::span<iovec> buffers) {
  if (!compressed()) return ReadStored(offset_bytes, buffers);
  for (const iovec& buffer : buffers) {
    ROOTLOOM_RETURN_IF_ERROR(ReadFrames(offset_bytes, {static_cast<std::byte*>(buffer.iov_base), buffer.iov_len}));
    offset_bytes += buffer.iov_len;
  }
  return Status::Ok();
}

void Diff::Prefetch(uint64_t offset_bytes, uint64_t length_bytes) {
  const Result<int> fd = Open();
  if (!fd.ok()) return;
  if (!compressed()) return AdviseRead(*fd, offset_bytes, length_bytes);
  const std::vector<Frame>& frames = source_.data.table.frames;
  auto frame = std::partition_point(frames.begin(), frames.end(),
                                    [&](const Frame& each) { return each.end_bytes() <= offset_bytes; });
  for (; frame != frames.end() && frame->start_bytes < offset_bytes + length_bytes; ++frame) {
    AdviseRead(*fd, frame->stored_start_bytes, frame->stored_size_bytes);
  }
}

Result<int> Diff::Open() {
  if (const int fd = opened_fd_.load(std::memory_order_acquire); fd >= 0) return fd;
  std::lock_guard lock(open_mutex_);
  if (fd_.valid()) return fd_.get();
  Result<UniqueFd> opened = OpenWithoutAccessTime(source_.path);
  if (!opened.ok()) {
    Failure failure = opened.status().failure();
    failure.operation = "open diff";
    failure.detail = "the data of build " + source_.data.build.ToText() +
                     " cannot be opened: " + std::string(std::strerror(failure.error_number));
    return failure;
  }
  ROOTLOOM_ASSIGN_OR_RETURN(file_size_bytes_, FileSize(opened.value().get(), source_.path));
  fd_ = std::move(opened.value());
  opened_fd_.store(fd_.get(), std::memory_order_release);
  return fd_.get();
}

std::span<const std::byte> Diff::Lend(uint64_t offset_bytes, uint64_t length_bytes) {
  const std::byte* bytes = lent_bytes_.load(std::memory_order_acquire);
  if (bytes == nullptr && can_map_.load(std::memory_order_relaxed)) bytes = Map();
  if (bytes == nullptr || offset_bytes + length_bytes > file_size_bytes_) return {};
  return {bytes + offset_bytes, length_bytes};
}

void Diff::ForgetLent() {
  if (lent_bytes_.load(std::memory_order_acquire) != nullptr) mapping_.Forget();
}

const std::byte* Diff::Map() {
  const Result<int> fd = Open();
  if (!fd.ok()) return nullptr;
  std::lock_guard lock(open_mutex_);
  if (!can_map_) return lent_bytes_.load(std::memory_order_relaxed);
  can_map_ = false;  // It is not tried again.
  std::atomic<int>* const left = source_.mappings_left;
  if (compressed() || left == nullptr || left->fetch_sub(1, std::memory_order_relaxed) <= 0) return nullptr;
  mapping_ = MappedFile::Map(*fd, file_size_bytes_);
  lent_bytes_.store(mapping_.bytes().data(), std::memory_order_release);
  return mapping_.bytes().data();
}

Status Diff::ReadStored(uint64_t offset_bytes, std::span<iovec> buffers) {
  ROOTLOOM_ASSIGN_OR_RETURN(const int fd, Open());
  uint64_t end_bytes = offset_bytes;
  for (const iovec& buffer : buffers) end_bytes += buffer.iov_len;
  if (end_bytes > file_size_bytes_) {
    return Corrupt("the data of build " + source_.data.build.ToText() + " ends there, byte " +
                       std::to_string(end_bytes) + " was expected",
                   file_size_bytes_);
  }
  return PreadvAll(fd, buffers, offset_bytes, source_.path);
}

Status Diff::ReadFrames(uint64_t offset_bytes, std::span<std::byte> buffer) {
  const std::vector<Frame>& frames = source_.data.table.frames;
  auto frame = std::partition_point(frames.begin(), frames.end(),
                                    [&](const Frame& each) { return each.end_bytes() <= offset_bytes; });
  for (; !buffer.empty(); ++frame) {
    if (frame == frames.end() || frame->start_bytes > offset_bytes) {
      return Corrupt("the frame table of build " + source_.data.build.ToText() + " has a gap at uncompressed byte " +
                         std::to_string(offset_bytes),
                     frame == frames.end() ? frames.back().stored_start_bytes : frame->stored_start_bytes);
    }
    if (std::max(frame->size_bytes, frame->stored_size_bytes) > kMaxFrameBytes) {
      return Status::Unsupported(kReadDiff,
                                 "the data of build " + source_.data.build.ToText() + " has frames above 64 MiB");
    }
    const FrameCache::Key key{source_.cache_key, static_cast<uint32_t>(frame - frames.begin())};
    ROOTLOOM_ASSIGN_OR_RETURN(
        const auto data, source_.cache->Get(key, frame->size_bytes,
                                            [&](std::span<std::byte> target) { return UnpackFrame(*frame, target); }));
    const uint64_t skip = offset_bytes - frame->start_bytes;
    const size_t count = std::min<uint64_t>(buffer.size(), frame->size_bytes - skip);
    std::memcpy(buffer.data(), data->data() + skip, count);
    buffer = buffer.subspan(count);
    offset_bytes += count;
  }
  return Status::Ok();
}

Status Diff::UnpackFrame(const Frame& frame, std::span<std::byte> target) {
  std::vector<std::byte> packed(frame.stored_size_bytes);
  iovec whole{packed.data(), packed.size()};
  ROOTLOOM_RETURN_IF_ERROR(ReadStored(frame.stored_start_bytes, {&whole, 1}));
  const Status status = source_.data.table.compression == Compression::kZstd ? UnpackZstd(packed, target)
                                                                             : UnpackLz4Frame(packed, target);
  if (status.ok()) return status;
  return Corrupt("the data of build " + source_.data.build.ToText() + " is damaged: " + status.failure().detail,
                 frame.stored_start_bytes);
}

Status Diff::Corrupt(std::string detail, uint64_t offset_bytes) const {
  return Failure{.kind = StatusKind::kCorrupt,
                 .operation = kReadDiff,
                 .detail = std::move(detail),
                 .path = source_.path,
                 .offset_bytes = offset_bytes,
                 .error_number = EIO};
}

}  // namespace rootloom
