// OverlayDevice::CopyChangesTo: an overlay's changes, put into the device below it.
#include <algorithm>
#include <vector>

#include "native/block/overlay_device.h"
#include "native/block/parts.h"

namespace rootloom {

namespace {

// Between two looks at the stop token.
constexpr uint64_t kPieceBytes = 1 << 20;
constexpr uint64_t kZeroPieceBytes = 64 << 20;

}  // namespace

Status OverlayDevice::CopyChangesTo(Device& target, const CallContext& context) {
  constexpr const char* kOperation = "copy the changes of";
  const OverlayView changed = view();
  ROOTLOOM_RETURN_IF_ERROR(CheckWhole(changed, kOperation));
  if (changed.below_as_cut != nullptr) return Status::Invalid(kOperation, "some of them are in a cut of " + name());
  const BlockStates& states = changed.upper->states();
  std::vector<std::byte> buffer(kPieceBytes);
  for (uint64_t block = 0; block < states.block_count();) {
    const BlockRun run = states.RunAt(block, states.block_count());
    block = run.end_block();
    if (run.state == BlockState::kAbsent) continue;
    const uint64_t offset_bytes = run.first_block * block_size_;
    const Range range{offset_bytes, std::min(run.block_count * block_size_, size_bytes() - offset_bytes)};
    const bool is_data = run.state == BlockState::kData;
    ROOTLOOM_RETURN_IF_ERROR(ForEachPart(range, is_data ? kPieceBytes : kZeroPieceBytes, [&](Range part) -> Status {
      ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kOperation));
      if (!is_data) return target.Zero(part);
      const std::span<std::byte> piece(buffer.data(), part.length_bytes);
      ROOTLOOM_RETURN_IF_ERROR(Read(part.offset_bytes, piece));
      return target.Write(part.offset_bytes, piece);
    }));
  }
  return Status::Ok();
}

}  // namespace rootloom
