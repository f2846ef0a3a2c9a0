#include "native/block/overlay_device.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "native/block/parts.h"

namespace rootloom {

namespace {

Status CheckSize(const std::string& name, uint64_t size_bytes, uint32_t block_size) {
  if (size_bytes <= static_cast<uint64_t>(INT64_MAX) - block_size) return Status::Ok();
  return Status::Errno("resize", name, EFBIG);
}

}  // namespace

Result<std::shared_ptr<OverlayDevice>> OverlayDevice::Create(std::shared_ptr<Device> base,
                                                             const std::string& upper_path, uint64_t size_bytes,
                                                             uint32_t block_size) {
  ROOTLOOM_RETURN_IF_ERROR(CheckBlockSize("create an overlay", block_size));
  const std::string name = "overlay of " + base->name();
  ROOTLOOM_RETURN_IF_ERROR(CheckSize(name, size_bytes, block_size));
  const uint64_t block_count = (size_bytes + block_size - 1) / block_size;
  ROOTLOOM_ASSIGN_OR_RETURN(auto upper, Upper::Create(upper_path, block_count, block_size));
  const uint64_t base_size_bytes = base->size_bytes();
  OverlayView view{.upper = std::move(upper), .below = std::move(base), .below_size_bytes = base_size_bytes};
  return std::shared_ptr<OverlayDevice>(new OverlayDevice(name, std::move(view), size_bytes));
}

OverlayDevice::OverlayDevice(std::string name, OverlayView view, uint64_t size_bytes)
    : name_(std::move(name)),
      origin_names_(view.below->OriginNames()),
      block_size_(view.upper->block_size()),
      view_(std::move(view)),
      size_bytes_(size_bytes) {}

uint64_t OverlayDevice::RoundUpToBlock(uint64_t offset_bytes) const {
  return (offset_bytes + block_size_ - 1) & ~uint64_t{block_size_ - 1};
}

Status OverlayDevice::CheckMayWrite(const char* operation, Range range) const {
  if (!frozen()) return CheckRange(operation, range);
  return Failure{.kind = StatusKind::kIo,
                 .operation = operation,
                 .detail = "the overlay is frozen to be sealed, and takes no more changes",
                 .path = name(),
                 .offset_bytes = range.offset_bytes,
                 .error_number = EROFS};
}

OverlayView OverlayDevice::view() const {
  Gate::Pass pass(gate_);
  return view_;
}

OverlayStats OverlayDevice::Stats() const {
  std::lock_guard lock(stats_mutex_);
  return {view_.upper->states().data_count(), view_.upper->states().zero_count()};
}

// ---- Reading ----

Status OverlayDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("read", {offset_bytes, buffer.size()}));
  return view_.Read(offset_bytes, buffer);
}

std::span<const std::byte> OverlayDevice::DoBorrow(Range range, Lenders& lenders) {
  Gate::Pass pass(gate_);
  if (!CheckRange("borrow", range).ok()) return {};
  return view_.Borrow(range, lenders);
}

Result<std::vector<Extent>> OverlayDevice::DoExtents(Range range, size_t max_count) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("map extents of", range));
  return view_.Extents(range, max_count);
}

Result<std::vector<Origin>> OverlayDevice::DoOrigins(Range range, size_t max_count) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("map origins of", range));
  return view_.Origins(range, max_count);
}

void OverlayDevice::DoPrefetch(std::span<const Range> ranges) {
  Gate::Pass pass(gate_);
  view_.Prefetch(ranges, size_bytes());
}

// ---- Writing ----

template <typename Change>
Status OverlayDevice::ChangeThenStore(Durability durability, const Change& change) {
  std::shared_ptr<Upper> changed;
  {
    Gate::Pass pass(gate_);
    ROOTLOOM_RETURN_IF_ERROR(change());
    if (durability == Durability::kBuffered) return Status::Ok();
    changed = view_.upper;
  }
  return changed->Sync();
}

Status OverlayDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  return ChangeThenStore(durability, [&] {
    ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("write", {offset_bytes, data.size()}));
    return view_.upper->NoteDamage(WriteAll(offset_bytes, data));
  });
}

void OverlayDevice::DoWriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes) {
  const auto write = [&] {
    uint64_t length_bytes = 0;
    for (const auto& piece : row) length_bytes += piece.size();
    ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("write", {offset_bytes, length_bytes}));
    return view_.upper->WriteBlocks(offset_bytes / block_size_, row);
  };
  // A failure is no damage yet: writing piece by piece shows what cannot be written, and notes that.
  if (!IsWholeBlocks(offset_bytes, row) || !ChangeThenStore(durability, write).ok()) {
    return Device::DoWriteRow(offset_bytes, row, durability, outcomes);
  }
  std::ranges::fill(outcomes, Status::Ok());
}

bool OverlayDevice::IsWholeBlocks(uint64_t offset_bytes, DataRow row) const {
  const auto is_whole = [this](std::span<const std::byte> piece) {
    return !piece.empty() && piece.size() % block_size_ == 0;
  };
  return offset_bytes % block_size_ == 0 && std::ranges::all_of(row, is_whole);
}

Status OverlayDevice::DoZero(Range range, Durability durability) {
  return ChangeThenStore(durability, [&] {
    ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("zero", range));
    // A zeroing that reaches the end of the device covers its last block, however short that is.
    if (range.end_bytes() == size_bytes()) range.length_bytes = RoundUpToBlock(size_bytes()) - range.offset_bytes;
    return view_.upper->NoteDamage(ZeroAll(range));
  });
}

Status OverlayDevice::DoTrim(Range range) {
  Gate::Pass pass(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("trim", range));
  const Range whole = WholeBlocks(range, block_size_, size_bytes());
  const uint64_t first = whole.offset_bytes / block_size_;
  view_.upper->ZeroBlocks(first, RoundUpToBlock(whole.end_bytes()) / block_size_ - first);
  return Status::Ok();
}

Status OverlayDevice::WriteAll(uint64_t offset_bytes, std::span<const std::byte> data) {
  const uint64_t head = std::min<uint64_t>(RoundUpToBlock(offset_bytes) - offset_bytes, data.size());
  if (head > 0) ROOTLOOM_RETURN_IF_ERROR(WritePartOfBlock(offset_bytes, data.first(head)));
  offset_bytes += head;
  data = data.subspan(head);
  const uint64_t whole = data.size() / block_size_ * block_size_;
  if (whole > 0) {
    const auto blocks = data.first(whole);
    ROOTLOOM_RETURN_IF_ERROR(view_.upper->WriteBlocks(offset_bytes / block_size_, {&blocks, 1}));
  }
  data = data.subspan(whole);
  return data.empty() ? Status::Ok() : WritePartOfBlock(offset_bytes + whole, data);
}

Status OverlayDevice::WritePartOfBlock(uint64_t offset_bytes, std::span<const std::byte> data) {
  return view_.upper->WritePart(offset_bytes, data, [this](uint64_t block_offset_bytes, std::span<std::byte> block) {
    const uint64_t valid = std::min<uint64_t>(block.size(), size_bytes() - block_offset_bytes);
    return view_.ReadBelow(block_offset_bytes, block.first(valid));
  });
}

Status OverlayDevice::ZeroAll(Range range) {
  const uint64_t first = RoundUpToBlock(range.offset_bytes);
  const uint64_t end = range.end_bytes() / block_size_ * block_size_;
  if (first > end) return ZeroPartOfBlock(range);  // The range lies inside one block.
  if (range.offset_bytes < first) {
    ROOTLOOM_RETURN_IF_ERROR(ZeroPartOfBlock({range.offset_bytes, first - range.offset_bytes}));
  }
  view_.upper->ZeroBlocks(first / block_size_, (end - first) / block_size_);
  return end < range.end_bytes() ? ZeroPartOfBlock({end, range.end_bytes() - end}) : Status::Ok();
}

Status OverlayDevice::ZeroPartOfBlock(Range range) {
  const std::vector<std::byte> zeros(range.length_bytes);
  return WritePartOfBlock(range.offset_bytes, zeros);
}

// ---- Flush, size, cut and freeze ----

Status OverlayDevice::Flush() {
  const OverlayView flushed = view();
  ROOTLOOM_RETURN_IF_ERROR(flushed.upper->Sync());
  return flushed.FlushBelow();
}

Status OverlayDevice::Resize(uint64_t new_size_bytes) {
  Gate::Closure closure(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("resize", {}));
  ROOTLOOM_RETURN_IF_ERROR(CheckSize(name_, new_size_bytes, block_size_));
  Upper& upper = *view_.upper;
  const uint64_t old_size = size_bytes();
  // Where the smaller size cuts a block, the rest of that block becomes zeros in the upper, so that neither the base's
  // bytes nor earlier ones come back when the device grows again.
  const uint64_t cut = std::min(old_size, new_size_bytes);
  if (old_size != new_size_bytes && cut % block_size_ != 0) {
    ROOTLOOM_RETURN_IF_ERROR(upper.NoteDamage(ZeroPartOfBlock({cut, RoundUpToBlock(cut) - cut})));
  }
  ROOTLOOM_RETURN_IF_ERROR(upper.Resize(RoundUpToBlock(new_size_bytes) / block_size_));
  size_bytes_.store(new_size_bytes, std::memory_order_release);
  // The same for the whole blocks that the device gains. Beyond what is below they read as zeros while absent.
  const uint64_t first = RoundUpToBlock(old_size) / block_size_;
  const uint64_t end = RoundUpToBlock(std::min(new_size_bytes, view_.below_size_bytes)) / block_size_;
  if (first < end) upper.ZeroBlocks(first, end - first);
  return Status::Ok();
}

Status OverlayDevice::CheckWhole(const OverlayView& view, const char* operation) {
  Status status = view.upper->Damage();
  if (!status.ok()) status.failure().operation = operation;
  return status;
}

Result<std::shared_ptr<OverlayCut>> OverlayDevice::Cut(const std::string& upper_path) {
  const auto block_count = [&] { return RoundUpToBlock(size_bytes()) / block_size_; };
  ROOTLOOM_ASSIGN_OR_RETURN(auto upper, Upper::Create(upper_path, block_count(), block_size_));
  Gate::Closure closure(gate_);
  ROOTLOOM_RETURN_IF_ERROR(CheckMayWrite("cut", {}));
  ROOTLOOM_RETURN_IF_ERROR(CheckWhole(view_, "cut"));
  // The size may have changed before the gate was closed.
  if (upper->states().block_count() != block_count()) ROOTLOOM_RETURN_IF_ERROR(upper->Resize(block_count()));
  const std::shared_ptr<OverlayCut> cut(new OverlayCut("cut of " + name_, size_bytes(), view_));
  std::lock_guard lock(stats_mutex_);
  view_ = {.upper = std::move(upper), .below = cut, .below_as_cut = cut, .below_size_bytes = size_bytes()};
  return cut;
}

Result<std::shared_ptr<OverlayCut>> OverlayDevice::LastCut() {
  Gate::Closure closure(gate_);
  frozen_.store(true, std::memory_order_release);
  ROOTLOOM_RETURN_IF_ERROR(CheckWhole(view_, "freeze"));
  return std::shared_ptr<OverlayCut>(new OverlayCut("cut of " + name_, size_bytes(), view_));
}

Status OverlayDevice::Freeze(const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const auto cut, LastCut());
  return cut->Store(context);
}

}  // namespace rootloom
