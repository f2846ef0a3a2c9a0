#include "native/block/overlay_cut.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "native/block/extent_list.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

// The public calls refuse changes of a device that is not writable before they get here.
Status RefuseChange() { return Failure{.kind = StatusKind::kIo, .operation = "change a cut", .error_number = EROFS}; }

uint64_t EndBlock(uint64_t end_bytes, uint64_t block_size) { return (end_bytes + block_size - 1) / block_size; }

// What is known of the parts of range, in order, until the list is full: own(part, state) of what the upper layer
// decides, and of the rest what ask_below(part) says, which may be about the beginning of that part only.
template <typename List, typename Own, typename AskBelow>
auto ListParts(const OverlayView& view, Range range, List list, const Own& own, const AskBelow& ask_below)
    -> decltype(ask_below(range)) {
  const uint64_t block_size = view.upper->block_size();
  const uint64_t end_block = EndBlock(range.end_bytes(), block_size);
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes();) {
    const BlockRun run = view.upper->states().RunAt(offset / block_size, end_block);
    uint64_t end = std::min(run.end_block() * block_size, range.end_bytes());
    if (run.state == BlockState::kAbsent && offset < view.below_size_bytes) {
      end = std::min(end, view.below_size_bytes);
      ROOTLOOM_ASSIGN_OR_RETURN(const auto held, ask_below(Range{offset, end - offset}));
      for (const auto& item : held) {
        if (!list.Add(item)) return std::move(list).Take();
      }
      end = held.back().range.end_bytes();
    } else if (!list.Add(own(Range{offset, end - offset}, run.state))) {
      break;
    }
    offset = end;
  }
  return std::move(list).Take();
}

}  // namespace

// ---- OverlayView ----

Status OverlayView::Read(uint64_t offset_bytes, std::span<std::byte> buffer) const {
  const uint64_t block_size = upper->block_size();
  const uint64_t end_block = EndBlock(offset_bytes + buffer.size(), block_size);
  while (!buffer.empty()) {
    const BlockRun run = upper->states().RunAt(offset_bytes / block_size, end_block);
    const std::span<std::byte> part =
        buffer.first(std::min<uint64_t>(buffer.size(), run.end_block() * block_size - offset_bytes));
    switch (run.state) {
      case BlockState::kAbsent:
        ROOTLOOM_RETURN_IF_ERROR(ReadBelow(offset_bytes, part));
        break;
      case BlockState::kData:
        ROOTLOOM_RETURN_IF_ERROR(PreadAll(upper->fd(), part, offset_bytes, upper->path()));
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

Status OverlayView::ReadBelow(uint64_t offset_bytes, std::span<std::byte> buffer) const {
  const uint64_t in_below = offset_bytes < below_size_bytes ? below_size_bytes - offset_bytes : 0;
  const std::span<std::byte> stored = buffer.first(std::min<uint64_t>(buffer.size(), in_below));
  const std::span<std::byte> beyond = buffer.subspan(stored.size());
  if (!beyond.empty()) std::memset(beyond.data(), 0, beyond.size());
  return stored.empty() ? Status::Ok() : below->Read(offset_bytes, stored);
}

std::span<const std::byte> OverlayView::Borrow(Range range, Lenders& lenders) const {
  if (range.end_bytes() > below_size_bytes) return {};
  const uint64_t block_size = upper->block_size();
  const uint64_t end_block = EndBlock(range.end_bytes(), block_size);
  const BlockRun run = upper->states().RunAt(range.offset_bytes / block_size, end_block);
  if (run.state != BlockState::kAbsent || run.end_block() < end_block) return {};
  return below->Borrow(range, lenders);
}

Result<std::vector<Extent>> OverlayView::Extents(Range range, size_t max_count) const {
  const auto own = [](Range part, BlockState state) {
    const ExtentKind kind = state == BlockState::kData   ? ExtentKind::kData
                            : state == BlockState::kZero ? ExtentKind::kZero
                                                         : ExtentKind::kHole;
    return Extent{part, kind};
  };
  return ListParts(*this, range, ExtentList(max_count), own,
                   [&](Range part) { return below->Extents(part, max_count); });
}

Result<std::vector<Origin>> OverlayView::Origins(Range range, size_t max_count) const {
  const auto own = [](Range part, BlockState) { return Origin{part, kNoOrigin}; };
  return ListParts(*this, range, OriginList(max_count), own,
                   [&](Range part) { return below->Origins(part, max_count); });
}

void OverlayView::Prefetch(std::span<const Range> ranges, uint64_t size_bytes) const {
  const uint64_t block_size = upper->block_size();
  std::vector<Range> wanted;
  for (const Range& range : ranges) {
    const uint64_t end = std::min({range.end_bytes(), size_bytes, below_size_bytes});
    const uint64_t end_block = EndBlock(end, block_size);
    for (uint64_t offset = range.offset_bytes; offset < end;) {
      const BlockRun run = upper->states().RunAt(offset / block_size, end_block);
      const uint64_t run_end = std::min(run.end_block() * block_size, end);
      if (run.state == BlockState::kAbsent) wanted.push_back({offset, run_end - offset});
      offset = run_end;
    }
  }
  if (!wanted.empty()) below->Prefetch(wanted);
}

Status OverlayView::FlushBelow() const { return below_as_cut == nullptr ? Status::Ok() : below_as_cut->Flush(); }

// ---- OverlayCut ----

OverlayCut::OverlayCut(std::string name, uint64_t size_bytes, OverlayView view)
    : name_(std::move(name)), size_bytes_(size_bytes), block_size_(view.upper->block_size()), view_(std::move(view)) {}

OverlayView OverlayCut::view() const {
  Gate::Pass pass(gate_);
  return view_;
}

Status OverlayCut::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  Gate::Pass pass(gate_);
  return view_.upper == nullptr ? view_.below->Read(offset_bytes, buffer) : view_.Read(offset_bytes, buffer);
}

std::span<const std::byte> OverlayCut::DoBorrow(Range range, Lenders& lenders) {
  Gate::Pass pass(gate_);
  return view_.upper == nullptr ? view_.below->Borrow(range, lenders) : view_.Borrow(range, lenders);
}

Result<std::vector<Extent>> OverlayCut::DoExtents(Range range, size_t max_count) {
  Gate::Pass pass(gate_);
  return view_.upper == nullptr ? view_.below->Extents(range, max_count) : view_.Extents(range, max_count);
}

Result<std::vector<Origin>> OverlayCut::DoOrigins(Range range, size_t max_count) {
  Gate::Pass pass(gate_);
  if (view_.upper == nullptr) return std::vector<Origin>{{range, kNoOrigin}};
  return view_.Origins(range, max_count);
}

void OverlayCut::DoPrefetch(std::span<const Range> ranges) {
  Gate::Pass pass(gate_);
  if (view_.upper == nullptr) return view_.below->Prefetch(ranges);
  view_.Prefetch(ranges, size_bytes_);
}

Status OverlayCut::DoWrite(uint64_t, std::span<const std::byte>, Durability) { return RefuseChange(); }
Status OverlayCut::DoZero(Range, Durability) { return RefuseChange(); }
Status OverlayCut::DoTrim(Range) { return RefuseChange(); }

// Syncing can take seconds and does not change the view, so it is done outside the gate.
Status OverlayCut::Flush() {
  const OverlayView cut = view();
  if (cut.upper == nullptr) return Status::Ok();
  if (!stored_.load(std::memory_order_acquire)) {
    ROOTLOOM_RETURN_IF_ERROR(cut.upper->Sync());
    stored_.store(true, std::memory_order_release);
  }
  return cut.FlushBelow();
}

Status OverlayCut::Store(const CallContext& context) {
  const OverlayView cut = view();
  if (cut.upper == nullptr) return Status::Ok();
  ROOTLOOM_RETURN_IF_ERROR(cut.upper->Store(context));
  return Flush();
}

Status OverlayCut::CheckKept(const CallContext& context) {
  const OverlayView cut = view();
  if (cut.upper == nullptr) return Status::Ok();
  ROOTLOOM_RETURN_IF_ERROR(cut.upper->CheckKept(context));
  return cut.below_as_cut == nullptr ? Status::Ok() : cut.below_as_cut->CheckKept(context);
}

Status OverlayCut::Settle(std::shared_ptr<Device> sealed) {
  OverlayView old;  // Released when the gate is open again: giving back the space of a large upper takes a while.
  Gate::Closure closure(gate_);
  if (view_.upper == nullptr) return Status::Invalid("settle " + name_, "it is settled already");
  if (sealed->size_bytes() != size_bytes_) {
    return Status::Invalid("settle " + name_, "it has " + std::to_string(size_bytes_) + " bytes, " + sealed->name() +
                                                  " has " + std::to_string(sealed->size_bytes()));
  }
  old = std::exchange(view_, OverlayView{.below = std::move(sealed), .below_size_bytes = size_bytes_});
  return Status::Ok();
}

}  // namespace rootloom
