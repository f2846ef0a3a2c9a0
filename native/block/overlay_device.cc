#include "native/block/overlay_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "native/block/extent_list.h"
#include "native/block/parts.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

// A power of two times BlockStates::kBlocksPerGroup: large enough that a big write is few system calls, small enough
// that writers far apart do not meet.
constexpr uint64_t kBlocksPerStripe = 256;
static_assert(kBlocksPerStripe % BlockStates::kBlocksPerGroup == 0);

}  // namespace

Result<std::shared_ptr<OverlayDevice>> OverlayDevice::Create(std::shared_ptr<Device> base,
                                                             const std::string& upper_path, uint64_t size_bytes,
                                                             uint32_t block_size) {
  ROOTLOOM_RETURN_IF_ERROR(CheckBlockSize("create an overlay", block_size));
  ROOTLOOM_ASSIGN_OR_RETURN(UniqueFd upper, OpenFile(upper_path, O_RDWR | O_CREAT | O_EXCL));
  if (::unlink(upper_path.c_str()) != 0) return Status::Errno("unlink", upper_path, errno);
  std::shared_ptr<OverlayDevice> overlay(new OverlayDevice(std::move(base), upper_path, std::move(upper), block_size));
  ROOTLOOM_RETURN_IF_ERROR(overlay->MakeRoom(size_bytes));
  overlay->size_bytes_.store(size_bytes);
  return overlay;
}

OverlayDevice::OverlayDevice(std::shared_ptr<Device> base, std::string upper_path, UniqueFd upper, uint32_t block_size)
    : base_(std::move(base)),
      base_size_bytes_(base_->size_bytes()),
      upper_path_(std::move(upper_path)),
      upper_(std::move(upper)),
      block_size_(block_size) {}

std::string OverlayDevice::name() const { return "overlay of " + base_->name(); }

uint64_t OverlayDevice::RoundUpToBlock(uint64_t offset_bytes) const {
  return (offset_bytes + block_size_ - 1) & ~uint64_t{block_size_ - 1};
}

uint64_t OverlayDevice::block_count() const { return RoundUpToBlock(size_bytes()) / block_size_; }

std::mutex& OverlayDevice::StripeOf(uint64_t block) { return stripes_[block / kBlocksPerStripe % stripes_.size()]; }

Status OverlayDevice::CheckMayWrite(const char* operation, Range range) const {
  if (!frozen()) return CheckRange(operation, range);
  return Failure{.kind = StatusKind::kIo,
                 .operation = operation,
                 .detail = "the overlay is frozen to be sealed, and takes no more changes",
                 .path = name(),
                 .offset_bytes = range.offset_bytes,
                 .error_number = EROFS};
}

Status OverlayDevice::NoteDamage(Status status) {
  if (!status.ok()) {
    std::lock_guard lock(failure_mutex_);
    if (!damage_.has_value()) damage_ = status.failure();
  }
  return status;
}

// ---- Reading ----

Status OverlayDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("read", {offset_bytes, buffer.size()}));
  const uint64_t end_block = RoundUpToBlock(offset_bytes + buffer.size()) / block_size_;
  while (!buffer.empty()) {
    const BlockRun run = states_.RunAt(offset_bytes / block_size_, end_block);
    const std::span<std::byte> part =
        buffer.first(std::min<uint64_t>(buffer.size(), run.end_block() * block_size_ - offset_bytes));
    switch (run.state) {
      case BlockState::kAbsent:
        ROOTLOOM_RETURN_IF_ERROR(ReadBase(offset_bytes, part));
        break;
      case BlockState::kData:
        ROOTLOOM_RETURN_IF_ERROR(PreadAll(upper_.get(), part, offset_bytes, upper_path_));
        break;
      case BlockState::kZero:
        std::memset(part.data(), 0, part.size());
        break;
    }
    offset_bytes += part.size();
    buffer = buffer.subspan(part.size());
  }
  return Status::Ok();
}

Status OverlayDevice::ReadBase(uint64_t offset_bytes, std::span<std::byte> buffer) {
  const uint64_t in_base = offset_bytes < base_size_bytes_ ? base_size_bytes_ - offset_bytes : 0;
  const std::span<std::byte> stored = buffer.first(std::min<uint64_t>(buffer.size(), in_base));
  const std::span<std::byte> beyond = buffer.subspan(stored.size());
  if (!beyond.empty()) std::memset(beyond.data(), 0, beyond.size());
  return stored.empty() ? Status::Ok() : base_->Read(offset_bytes, stored);
}

Result<std::vector<Extent>> OverlayDevice::DoExtents(Range range, size_t max_count) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("map extents of", range));
  ExtentList extents(max_count);
  const uint64_t end_block = RoundUpToBlock(range.end_bytes()) / block_size_;
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes();) {
    const BlockRun run = states_.RunAt(offset / block_size_, end_block);
    uint64_t end = std::min(run.end_block() * block_size_, range.end_bytes());
    if (run.state == BlockState::kAbsent && offset < base_size_bytes_) {
      end = std::min(end, base_size_bytes_);
      ROOTLOOM_ASSIGN_OR_RETURN(std::vector<Extent> below, base_->Extents({offset, end - offset}, max_count));
      for (const Extent& extent : below) {
        if (!extents.Add(extent)) return std::move(extents).Take();
      }
      end = below.back().range.end_bytes();
    } else {
      const ExtentKind kind = run.state == BlockState::kData   ? ExtentKind::kData
                              : run.state == BlockState::kZero ? ExtentKind::kZero
                                                               : ExtentKind::kHole;
      if (!extents.Add({{offset, end - offset}, kind})) break;
    }
    offset = end;
  }
  return std::move(extents).Take();
}

void OverlayDevice::DoPrefetch(std::span<const Range> ranges) {
  Gate::Pass pass(gate_);
  std::vector<Range> below;
  for (const Range& range : ranges) {
    const uint64_t end = std::min({range.end_bytes(), size_bytes(), base_size_bytes_});
    const uint64_t end_block = RoundUpToBlock(end) / block_size_;
    for (uint64_t offset = range.offset_bytes; offset < end;) {
      const BlockRun run = states_.RunAt(offset / block_size_, end_block);
      const uint64_t run_end = std::min(run.end_block() * block_size_, end);
      if (run.state == BlockState::kAbsent) below.push_back({offset, run_end - offset});
      offset = run_end;
    }
  }
  if (!below.empty()) base_->Prefetch(below);
}

// ---- Writing ----

Status OverlayDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("write", {offset_bytes, data.size()}));
  ROOTLOOM_RETURN_IF_ERROR(NoteDamage(WriteAll(offset_bytes, data)));
  return durability == Durability::kDurable ? SyncUpper() : Status::Ok();
}

Status OverlayDevice::DoZero(Range range, Durability durability) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("zero", range));
  // A zeroing that reaches the end of the device covers its last block, however short that is.
  if (range.end_bytes() == size_bytes()) range.length_bytes = RoundUpToBlock(size_bytes()) - range.offset_bytes;
  ROOTLOOM_RETURN_IF_ERROR(NoteDamage(ZeroAll(range)));
  return durability == Durability::kDurable ? SyncUpper() : Status::Ok();
}

Status OverlayDevice::DoTrim(Range range) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("trim", range));
  const Range whole = WholeBlocks(range, block_size_, size_bytes());
  const uint64_t first = whole.offset_bytes / block_size_;
  ZeroWholeBlocks(first, RoundUpToBlock(whole.end_bytes()) / block_size_ - first);
  return Status::Ok();
}

Status OverlayDevice::WriteAll(uint64_t offset_bytes, std::span<const std::byte> data) {
  return ForEachPart({offset_bytes, data.size()}, block_size_ * kBlocksPerStripe, [&](Range part) {
    std::span<const std::byte> rest = data.subspan(part.offset_bytes - offset_bytes, part.length_bytes);
    uint64_t offset = part.offset_bytes;
    const auto take = [&](uint64_t length) {
      const std::span<const std::byte> taken = rest.first(length);
      rest = rest.subspan(length);
      offset += length;
      return taken;
    };
    const uint64_t head = std::min<uint64_t>(RoundUpToBlock(offset) - offset, rest.size());
    if (head > 0) ROOTLOOM_RETURN_IF_ERROR(WritePartOfBlock(part.offset_bytes, take(head)));
    const uint64_t whole = rest.size() / block_size_ * block_size_;
    if (whole > 0) ROOTLOOM_RETURN_IF_ERROR(WriteWholeBlocks(offset / block_size_, rest.first(whole)));
    take(whole);
    return rest.empty() ? Status::Ok() : WritePartOfBlock(offset, rest);
  });
}

Status OverlayDevice::WriteWholeBlocks(uint64_t first_block, std::span<const std::byte> data) {
  const uint64_t block_count = data.size() / block_size_;
  const auto bytes_of = [&](uint64_t index, uint64_t count) {
    return data.subspan(index * block_size_, count * block_size_);
  };
  std::lock_guard lock(StripeOf(first_block));
  for (uint64_t index = 0; index < block_count;) {
    const bool zero = IsAllZero(bytes_of(index, 1));
    uint64_t count = 1;
    while (index + count < block_count && IsAllZero(bytes_of(index + count, 1)) == zero) ++count;
    const uint64_t block = first_block + index;
    if (zero) {
      SetZeroAndPunch(block, count);
    } else {
      ROOTLOOM_RETURN_IF_ERROR(PwriteAll(upper_.get(), bytes_of(index, count), block * block_size_, upper_path_));
      states_.Set({BlockState::kData, block, count});
    }
    index += count;
  }
  return Status::Ok();
}

Status OverlayDevice::WritePartOfBlock(uint64_t offset_bytes, std::span<const std::byte> data) {
  const uint64_t block = offset_bytes / block_size_;
  const uint64_t block_offset = block * block_size_;
  std::vector<std::byte> content;
  if (states_.RunAt(block, block + 1).state == BlockState::kAbsent) {
    content.resize(block_size_);
    const uint64_t valid = std::min<uint64_t>(block_size_, size_bytes() - block_offset);
    ROOTLOOM_RETURN_IF_ERROR(ReadBase(block_offset, std::span(content).first(valid)));
  }

  std::lock_guard lock(StripeOf(block));
  // Another writer may have been faster. Inside the gate no block becomes absent again, so content is there if needed.
  const BlockState state = states_.RunAt(block, block + 1).state;
  if (state == BlockState::kData) return PwriteAll(upper_.get(), data, offset_bytes, upper_path_);
  if (state == BlockState::kZero) {
    if (IsAllZero(data)) return Status::Ok();
    content.assign(block_size_, std::byte{0});
  }
  std::memcpy(content.data() + (offset_bytes - block_offset), data.data(), data.size());
  if (IsAllZero(content)) {
    SetZeroAndPunch(block, 1);
    return Status::Ok();
  }
  ROOTLOOM_RETURN_IF_ERROR(PwriteAll(upper_.get(), content, block_offset, upper_path_));
  states_.Set({BlockState::kData, block, 1});
  return Status::Ok();
}

// ---- Zeroing ----

Status OverlayDevice::ZeroAll(Range range) {
  const uint64_t first = RoundUpToBlock(range.offset_bytes);
  const uint64_t end = range.end_bytes() / block_size_ * block_size_;
  if (first > end) return ZeroPartOfBlock(range);  // The range lies inside one block.
  if (range.offset_bytes < first) {
    ROOTLOOM_RETURN_IF_ERROR(ZeroPartOfBlock({range.offset_bytes, first - range.offset_bytes}));
  }
  ZeroWholeBlocks(first / block_size_, (end - first) / block_size_);
  return end < range.end_bytes() ? ZeroPartOfBlock({end, range.end_bytes() - end}) : Status::Ok();
}

Status OverlayDevice::ZeroPartOfBlock(Range range) {
  const std::vector<std::byte> zeros(range.length_bytes);
  return WritePartOfBlock(range.offset_bytes, zeros);
}

void OverlayDevice::ZeroWholeBlocks(uint64_t first_block, uint64_t block_count) {
  const uint64_t end_block = first_block + block_count;
  while (first_block < end_block) {
    const uint64_t count = std::min(kBlocksPerStripe - first_block % kBlocksPerStripe, end_block - first_block);
    std::lock_guard lock(StripeOf(first_block));
    SetZeroAndPunch(first_block, count);
    first_block += count;
  }
}

void OverlayDevice::SetZeroAndPunch(uint64_t first_block, uint64_t block_count) {
  const uint64_t end_block = first_block + block_count;
  while (first_block < end_block) {
    const BlockRun old = states_.RunAt(first_block, end_block);
    states_.Set({BlockState::kZero, old.first_block, old.block_count});
    if (old.state == BlockState::kData && can_punch_.load(std::memory_order_relaxed)) {
      // By invariant 1 a failure costs space only; one that will come again is not asked for again.
      const int failed = ::fallocate(upper_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     static_cast<off_t>(old.first_block * block_size_),
                                     static_cast<off_t>(old.block_count * block_size_));
      if (failed != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) can_punch_.store(false, std::memory_order_relaxed);
    }
    first_block = old.end_block();
  }
}

// ---- Flush, size and freeze ----

Status OverlayDevice::Flush() {
  Gate::Pass pass(gate_);
  return SyncUpper();
}

Status OverlayDevice::SyncUpper() { return NoteDamage(sync_.Sync(upper_.get(), upper_path_)); }

Status OverlayDevice::Resize(uint64_t new_size_bytes) {
  Gate::Closure closure(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("resize", {}));
  const uint64_t old_size = size_bytes();
  // Where the smaller size cuts a block, the rest of that block becomes zeros in the upper, so that neither the base's
  // bytes nor earlier ones come back when the device grows again.
  const uint64_t cut = std::min(old_size, new_size_bytes);
  if (old_size != new_size_bytes && cut % block_size_ != 0) {
    ROOTLOOM_RETURN_IF_ERROR(NoteDamage(ZeroPartOfBlock({cut, RoundUpToBlock(cut) - cut})));
  }
  ROOTLOOM_RETURN_IF_ERROR(MakeRoom(new_size_bytes));
  size_bytes_.store(new_size_bytes, std::memory_order_release);
  // The same for the whole blocks that the device gains. Beyond the base they read as zeros while absent.
  const uint64_t first = RoundUpToBlock(old_size) / block_size_;
  const uint64_t end = RoundUpToBlock(std::min(new_size_bytes, base_size_bytes_)) / block_size_;
  if (first < end) ZeroWholeBlocks(first, end - first);
  return Status::Ok();
}

Status OverlayDevice::MakeRoom(uint64_t size_bytes) {
  if (size_bytes > static_cast<uint64_t>(INT64_MAX) - block_size_) return Status::Errno("resize", name(), EFBIG);
  const uint64_t old_blocks = states_.block_count();
  const uint64_t new_blocks = RoundUpToBlock(size_bytes) / block_size_;
  if (new_blocks > old_blocks) ROOTLOOM_RETURN_IF_ERROR(states_.Resize(new_blocks));
  Status status;
  if (::ftruncate(upper_.get(), static_cast<off_t>(new_blocks * block_size_)) != 0) {
    status = Status::Errno("resize", upper_path_, errno);
  }
  // States for blocks that the upper has no room for, or no longer: forgetting them cannot fail.
  const uint64_t wanted_blocks = status.ok() ? new_blocks : old_blocks;
  if (wanted_blocks < states_.block_count()) ROOTLOOM_RETURN_IF_ERROR(states_.Resize(wanted_blocks));
  return status;
}

Status OverlayDevice::StoreUpper(const CallContext& context) {
  StoreBehind store;
  return ForEachRun([&](const BlockRun& run) {
    if (run.state != BlockState::kData) return Status::Ok();
    const Range range{run.first_block * block_size_, run.block_count * block_size_};
    return ForEachPart(range, block_size_ * kBlocksPerStripe, [&](Range part) {
      ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("freeze the overlay"));
      return NoteDamage(sync_.Keep(store.Wrote(upper_.get(), part.end_bytes(), part.length_bytes, upper_path_)));
    });
  });
}

Status OverlayDevice::Freeze(const CallContext& context) {
  {
    Gate::Closure closure(gate_);
    frozen_.store(true, std::memory_order_release);
  }
  ROOTLOOM_RETURN_IF_ERROR(StoreUpper(context));
  ROOTLOOM_RETURN_IF_ERROR(SyncUpper());
  return CheckUndamaged("freeze");
}

Status OverlayDevice::CheckUndamaged(const char* operation) {
  std::lock_guard lock(failure_mutex_);
  if (!damage_.has_value()) return Status::Ok();
  Failure failure = *damage_;
  failure.detail = "an earlier write failed, so that content may be missing: " + damage_->Message();
  failure.operation = operation;
  return failure;
}

BlockState OverlayDevice::StateAt(uint64_t block) const {
  Gate::Pass pass(gate_);
  return states_.RunAt(block, block + 1).state;
}

Status OverlayDevice::ForEachRun(const std::function<Status(const BlockRun&)>& visit) const {
  if (!frozen()) return Status::Invalid("list the blocks of " + name(), "it still takes writes, freeze it first");
  for (uint64_t block = 0; block < states_.block_count();) {
    const BlockRun run = states_.RunAt(block, states_.block_count());
    ROOTLOOM_RETURN_IF_ERROR(visit(run));
    block = run.end_block();
  }
  return Status::Ok();
}

}  // namespace rootloom
