#include "native/ext4/io_manager.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include "native/ext4/engine/run.h"

namespace rootloom {

namespace {

// What is zeroed between two looks at the stop token, and the extents that are asked for at once: a disk may have
// millions of them.
constexpr uint64_t kZeroPieceBytes = 64 << 20;
constexpr size_t kExtentBatch = 4096;

class Registry {
 public:
  static Registry& Instance() {
    static Registry registry;
    return registry;
  }

  std::string Add(DeviceIo* io) {
    std::lock_guard lock(mutex_);
    std::string name = "rootloom-device-" + std::to_string(++last_number_);
    devices_.emplace(name, io);
    return name;
  }

  void Remove(const std::string& name) {
    std::lock_guard lock(mutex_);
    devices_.erase(name);
  }

  DeviceIo* Find(const char* name) {
    std::lock_guard lock(mutex_);
    const auto found = devices_.find(name);
    return found == devices_.end() ? nullptr : found->second;
  }

 private:
  std::mutex mutex_;
  uint64_t last_number_ = 0;
  std::map<std::string, DeviceIo*, std::less<>> devices_;
};

DeviceIo& IoOf(io_channel channel) { return *static_cast<DeviceIo*>(channel->private_data); }

// Whether it was opened for writing. e2fsck -n relies on being stopped from it, by a file that was opened read-only.
long& WritableOf(io_channel channel) { return channel->reserved[0]; }

// A negative count is a number of bytes, as everywhere in e2fsprogs.
size_t LengthOf(io_channel channel, int count) {
  return count < 0 ? static_cast<size_t>(-static_cast<int64_t>(count))
                   : static_cast<size_t>(count) * static_cast<size_t>(channel->block_size);
}

// A number of a broken filesystem may be anything; what is too large for an offset lies beyond every device's end.
uint64_t OffsetOf(io_channel channel, unsigned long long block) {
  uint64_t offset_bytes = 0;
  const bool overflows = __builtin_mul_overflow(block, static_cast<uint64_t>(channel->block_size), &offset_bytes);
  return overflows ? UINT64_MAX : offset_bytes;
}

errcode_t OpenChannel(const char* name, int flags, io_channel* channel) {
  DeviceIo* io = name == nullptr ? nullptr : Registry::Instance().Find(name);
  return io == nullptr ? EXT2_ET_BAD_DEVICE_NAME : io->Open(flags, channel);
}

errcode_t CloseChannel(io_channel channel) {
  if (--channel->refcount > 0) return 0;
  std::free(channel->name);
  std::free(channel);
  return 0;
}

errcode_t SetBlockSize(io_channel channel, int block_size) {
  channel->block_size = block_size;
  return 0;
}

errcode_t ReadBlocks64(io_channel channel, unsigned long long block, int count, void* data) {
  return IoOf(channel).Read(OffsetOf(channel, block), {static_cast<std::byte*>(data), LengthOf(channel, count)});
}

errcode_t ReadBlocks(io_channel channel, unsigned long block, int count, void* data) {
  return ReadBlocks64(channel, block, count, data);
}

errcode_t WriteBlocks64(io_channel channel, unsigned long long block, int count, const void* data) {
  if (WritableOf(channel) == 0) return EROFS;
  const std::span<const std::byte> bytes{static_cast<const std::byte*>(data), LengthOf(channel, count)};
  const bool is_backup = count == -SUPERBLOCK_SIZE && block > 0 && channel->block_size > SUPERBLOCK_SIZE;
  if (!is_backup) return IoOf(channel).Write(OffsetOf(channel, block), bytes);
  return IoOf(channel).WriteSuperblockBackup(OffsetOf(channel, block), bytes,
                                             static_cast<uint32_t>(channel->block_size));
}

errcode_t WriteBlocks(io_channel channel, unsigned long block, int count, const void* data) {
  return WriteBlocks64(channel, block, count, data);
}

errcode_t WriteBytes(io_channel channel, unsigned long offset, int count, const void* data) {
  if (WritableOf(channel) == 0) return EROFS;
  return IoOf(channel).Write(offset, {static_cast<const std::byte*>(data), static_cast<size_t>(count)});
}

errcode_t FlushChannel(io_channel) { return 0; }

errcode_t SetOption(io_channel, const char*, const char*) { return 0; }

errcode_t DiscardBlocks(io_channel channel, unsigned long long block, unsigned long long count) {
  if (WritableOf(channel) == 0) return EROFS;
  return IoOf(channel).Trim({OffsetOf(channel, block), OffsetOf(channel, count)});
}

errcode_t ZeroBlocks(io_channel channel, unsigned long long block, unsigned long long count) {
  if (WritableOf(channel) == 0) return EROFS;
  return IoOf(channel).Zero({OffsetOf(channel, block), OffsetOf(channel, count)});
}

errcode_t ReadAhead(io_channel channel, unsigned long long block, unsigned long long count) {
  const Range range{OffsetOf(channel, block), OffsetOf(channel, count)};
  IoOf(channel).Prefetch({&range, 1});
  return 0;
}

}  // namespace

DeviceIo::DeviceIo(std::shared_ptr<Device> device) : device_(std::move(device)), name_(Registry::Instance().Add(this)) {
  static std::once_flag silenced;
  std::call_once(silenced, rootloom_silence_library);
}

DeviceIo::~DeviceIo() { Registry::Instance().Remove(name_); }

io_manager DeviceIo::manager() {
  // No get_stats: e2fsprogs would add the bytes to the superblock, and equal inputs would not give equal bytes.
  static struct_io_manager manager = {
      .magic = EXT2_ET_MAGIC_IO_MANAGER,
      .name = "rootloom device",
      .open = OpenChannel,
      .close = CloseChannel,
      .set_blksize = SetBlockSize,
      .read_blk = ReadBlocks,
      .write_blk = WriteBlocks,
      .flush = FlushChannel,
      .write_byte = WriteBytes,
      .set_option = SetOption,
      .get_stats = nullptr,
      .read_blk64 = ReadBlocks64,
      .write_blk64 = WriteBlocks64,
      .discard = DiscardBlocks,
      .cache_readahead = ReadAhead,
      .zeroout = ZeroBlocks,
      .reserved = {},
  };
  return &manager;
}

errcode_t DeviceIo::Open(int flags, io_channel* channel) {
  if ((flags & IO_FLAG_RW) != 0 && !device_->writable()) {
    return Remember(Status::Errno("open the filesystem for writing on", device_->name(), EROFS));
  }
  // e2fsprogs frees what it is given with its own allocator, which is malloc's.
  auto* opened = static_cast<io_channel>(std::calloc(1, sizeof(struct_io_channel)));
  if (opened == nullptr) return EXT2_ET_NO_MEMORY;
  opened->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  opened->manager = manager();
  opened->name = strdup(name_.c_str());
  opened->block_size = 1024;
  opened->refcount = 1;
  // What Trim was given reads as zeros, which saves writing zeros after a discard.
  opened->flags = CHANNEL_FLAGS_DISCARD_ZEROES;
  opened->private_data = this;
  WritableOf(opened) = (flags & IO_FLAG_RW) != 0 ? 1 : 0;
  *channel = opened;
  return 0;
}

bool DeviceIo::Stopped() {
  if (!stop_.stop_requested()) return false;
  Remember(Status::Cancelled("work on the filesystem of " + device_->name()));
  return true;
}

errcode_t DeviceIo::Remember(Status status) {
  if (status.ok()) return 0;
  const int error_number = status.failure().error_number;
  if (!failure_.has_value()) failure_ = std::move(status.failure());
  return error_number == 0 ? EIO : error_number;
}

std::optional<Failure> DeviceIo::TakeFailure() { return std::exchange(failure_, std::nullopt); }

IoCounts DeviceIo::counts() const {
  IoCounts counts = counts_;
  counts.blocks_read = read_.block_count();
  counts.chunks_read = read_.chunk_count();
  counts.blocks_written = written_.block_count();
  counts.chunks_written = written_.chunk_count();
  return counts;
}

bool DeviceIo::IsInside(Range range) const {
  const uint64_t size_bytes = device_->size_bytes();
  return range.offset_bytes <= size_bytes && range.length_bytes <= size_bytes - range.offset_bytes;
}

errcode_t DeviceIo::Read(uint64_t offset_bytes, std::span<std::byte> buffer) {
  if (Stopped()) return ECANCELED;
  if (!IsInside({offset_bytes, buffer.size()})) return EXT2_ET_SHORT_READ;
  const Range range{offset_bytes, buffer.size()};
  if (range.length_bytes > TouchedBlocks::kChunkBytes) Prefetch({&range, 1});
  counts_.read_calls += 1;
  counts_.read_bytes += buffer.size();
  read_.Add(range);
  return Remember(device_->Read(offset_bytes, buffer));
}

errcode_t DeviceIo::Write(uint64_t offset_bytes, std::span<const std::byte> data) {
  if (Stopped()) return ECANCELED;
  if (!IsInside({offset_bytes, data.size()})) return EXT2_ET_SHORT_WRITE;
  counts_.write_calls += 1;
  counts_.written_bytes += data.size();
  written_.Add({offset_bytes, data.size()});
  return Remember(device_->Write(offset_bytes, data));
}

errcode_t DeviceIo::WriteSuperblockBackup(uint64_t offset_bytes, std::span<const std::byte> data, uint32_t block_size) {
  std::vector<std::byte> block(block_size);
  std::memcpy(block.data(), data.data(), data.size());
  return Write(offset_bytes, block);
}

void DeviceIo::Prefetch(std::span<const Range> ranges) {
  counts_.prefetch_calls += 1;
  device_->Prefetch(ranges);
}

errcode_t DeviceIo::Zero(Range range) {
  if (Stopped()) return ECANCELED;
  if (!IsInside(range)) return EXT2_ET_SHORT_WRITE;
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes();) {
    Result<std::vector<Extent>> extents = device_->Extents({offset, range.end_bytes() - offset}, kExtentBatch);
    if (!extents.ok()) return Remember(extents.status());
    for (const Extent& extent : extents.value()) {
      offset = extent.range.end_bytes();
      if (extent.kind != ExtentKind::kData) continue;
      if (const errcode_t code = ZeroData(extent.range); code != 0) return code;
    }
    if (Stopped()) return ECANCELED;
  }
  return 0;
}

errcode_t DeviceIo::ZeroData(Range range) {
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes(); offset += kZeroPieceBytes) {
    if (Stopped()) return ECANCELED;
    const Range piece{offset, std::min(kZeroPieceBytes, range.end_bytes() - offset)};
    counts_.zeroed_bytes += piece.length_bytes;
    if (const errcode_t code = Remember(device_->Zero(piece)); code != 0) return code;
  }
  return 0;
}

// A device keeps the bytes of a block of its own that is only partly covered: those are zeroed.
errcode_t DeviceIo::Trim(Range range) {
  if (Stopped()) return ECANCELED;
  if (!IsInside(range)) return EXT2_ET_SHORT_WRITE;
  const uint64_t block_size = device_->block_size();
  const uint64_t first = (range.offset_bytes + block_size - 1) / block_size * block_size;
  const uint64_t end = range.end_bytes() / block_size * block_size;
  if (first >= end) return Zero(range);
  if (const errcode_t code = Zero({range.offset_bytes, first - range.offset_bytes}); code != 0) return code;
  if (const errcode_t code = Remember(device_->Trim({first, end - first})); code != 0) return code;
  return Zero({end, range.end_bytes() - end});
}

}  // namespace rootloom
