// Seal: turns what an overlay holds, or a whole device, into the diff and the header of a new build.
//
// The order is always: end writing, store the diff, make sure that nothing of what was written had been lost, then
// store the header. Each file is durable when a seal returns; the names are the caller's to make durable. A zero block
// is never stored, whoever wrote it.
//
// What was written is read, judged and stored by several threads (see seal_queue.h), and is not made durable in the
// overlay first: its durable form is the diff.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "native/block/device.h"
#include "native/block/overlay_cut.h"
#include "native/block/overlay_device.h"
#include "native/chain/header.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

struct SealTarget {
  Uuid build;
  // Neither file may exist (EEXIST). Both are removed again when the seal fails or is cancelled.
  std::string diff_path;
  std::string header_path;
  // 3, 4 or 5. Without it, that of a V4 or V5 parent, else 3.
  std::optional<uint32_t> version;
  // Tells the diff's digest also where there is a parent. It is taken as the data goes by, by one thread at a time.
  bool digest = false;
};

struct SealReport {
  uint64_t size_bytes = 0;      // of the device
  uint64_t diff_bytes = 0;      // stored
  uint64_t data_blocks = 0;     // stored
  uint64_t zero_blocks = 0;     // found or recorded as zero, stored nowhere
  uint64_t dropped_blocks = 0;  // written, but equal to what the parent holds
  std::string diff_sha256;  // of the stored diff, in hexadecimal, when asked for or the build stands alone; else empty
};

// Seals cut as a child of the build that parent describes: generation one higher, the same base build and block size,
// the cut's size. parent must be the header, as DecodeHeader gave it, of what the cut lies over: of the overlay's
// chain, or of the build that the cut below it was sealed as. Only blocks that were written are looked at; one that
// equals what lies below is dropped.
//
// Without parent the new build stands alone: generation 0, its own base, and whatever lies below the cut is stored too.
//
// Fails with kInvalidArgument when cut and parent do not belong together, when the device or the cut's blocks are not
// whole pages, when the version has no room for what the parent says, or when the cut is settled. Fails as Flush does
// when written data was lost, and for good. The cut may be sealed again after any other failure, and by several at
// once. Progress is counted in bytes of the blocks that were written, or of the device without parent.
Result<SealReport> SealCut(OverlayCut& cut, const Header* parent, const SealTarget& target, const CallContext& context);

// The same with all that overlay holds. Freezes it first, for good, and fails as OverlayDevice::LastCut does when
// something written may be missing.
Result<SealReport> SealOverlay(OverlayDevice& overlay, const Header* parent, const SealTarget& target,
                               const CallContext& context);

// Seals everything that device holds as a build that stands alone, with the given block size in the header (4096 for
// disks) and as the unit in which zeros are left out. Holes are not read. Nothing may write to device meanwhile.
Result<SealReport> SealDevice(Device& device, uint32_t block_size, const SealTarget& target,
                              const CallContext& context);

}  // namespace rootloom
