// OverlayDevice: a writable device over a read-only one.
//
// What is written goes to an upper (see upper.h), a private sparse file with a state for each block; what is below it
// is only read. Invariants:
//
//  1. Every operation passes the gate. Resize, Cut and Freeze close it, and so meet no operation half done. What can
//     take seconds and changes nothing, which is syncing, is done outside.
//  2. In the upper, the bytes of the last block that lie beyond the device's end are zero.
//
// A cut ends an upper and begins the next: the old one becomes part of what is below, and the cut can be sealed while
// the overlay is written on. So below an overlay there can be several cuts, the newest first, and then its base; each
// that is not settled yet costs a read of what it lies over one more look at a bit map.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/block/gate.h"
#include "native/block/overlay_cut.h"
#include "native/block/upper.h"
#include "native/util/call_context.h"

namespace rootloom {

struct OverlayStats {
  uint64_t data_blocks = 0;
  uint64_t zero_blocks = 0;
};

class OverlayDevice final : public Device {
 public:
  // Makes an overlay of size_bytes over base, which may be smaller (the rest reads as zeros) or larger (the rest is
  // out of reach). block_size need not be the base's.
  //
  // The upper is made at upper_path, which must not exist (EEXIST), and its name is removed at once: the space comes
  // back when the overlay is destroyed, also when the process is killed. Shares ownership of base, which must not
  // change while the overlay exists.
  static Result<std::shared_ptr<OverlayDevice>> Create(std::shared_ptr<Device> base, const std::string& upper_path,
                                                       uint64_t size_bytes, uint32_t block_size);

  std::string name() const override { return name_; }
  uint64_t size_bytes() const override { return size_bytes_.load(std::memory_order_acquire); }
  uint32_t block_size() const override { return block_size_; }
  bool writable() const override { return !frozen(); }
  // Those of the base; what was written to the overlay is of no origin, also when it has been cut and sealed since.
  std::vector<std::string> OriginNames() const override { return origin_names_; }

  // Makes durable what was written, also before cuts that are not settled. When the kernel reports that written data
  // was lost, the data stays lost: this and every later Flush fail with that error.
  Status Flush() override;

  // Sets the size. Growing: the new tail reads as zeros, whatever the base has there. Shrinking: what was beyond is
  // gone, and its space is freed. Waits for running operations. On failure the size and all content
  // below the smaller of both sizes are unchanged. Fails with EROFS when frozen. Cuts keep their size.
  Status Resize(uint64_t new_size_bytes);

  // Cuts off what the overlay holds, so that it can be sealed while writing goes on: into a new upper, made at
  // upper_path as Create does. In the cut is every write, zeroing, trim and resize that had returned before this was
  // called; of those that run meanwhile, all or nothing of each. No user of the overlay notices: it has the same
  // content before and after. Takes as long as the slowest of the operations that run, and a millisecond, however much
  // was written. Does not flush: sealing makes durable what is in the cut.
  //
  // Fails when anything that was written may be missing, as Freeze does, when the overlay is frozen (EROFS), or when no
  // upper can be made; the overlay then goes on as if this had not been called. Cuts may follow each other before the
  // first is sealed. When the overlay is destroyed, its cuts stay whole.
  Result<std::shared_ptr<OverlayCut>> Cut(const std::string& upper_path);

  // The same for good: refuses each later write, zero, trim and resize with EROFS. Fails when anything that was written
  // may be missing; the overlay is then frozen all the same. May be called again.
  Result<std::shared_ptr<OverlayCut>> LastCut();

  // Ends writing for good: waits for every running operation, refuses each later write, zero, trim and resize with
  // EROFS, and flushes the upper.
  //
  // Fails when anything that was written may be missing: the upper could not be flushed now or earlier, or an earlier
  // write or zero failed, even though its caller was told. A disk with a hole in it must not become a build. The
  // overlay is then frozen all the same, and every later Freeze fails in the same way. Idempotent.
  //
  // Storing many gigabytes takes long: it is done in parts, with a look at the stop token before each. When that is
  // triggered, it fails with kCancelled, frozen all the same, and the next Freeze goes on.
  //
  // After success, until the overlay is destroyed, nothing of it changes, and it can be the base of another.
  Status Freeze(const CallContext& context = {});
  bool frozen() const { return frozen_.load(std::memory_order_acquire); }

  // What is written to and what lies below right now; a cut or a resize changes it.
  OverlayView view() const;

  // Makes target read as this does, given that it reads as the base: writes the blocks that were written here, and
  // zeroes those that were zeroed. Fails, having changed nothing, when anything that was written may be missing, or
  // when the overlay has been cut; after a failure of target's, or when the stop token was triggered, a part is done.
  // REQUIRES: nothing is written meanwhile.
  Status CopyChangesTo(Device& target, const CallContext& context);

  // Of the newest upper. Never waits.
  OverlayStats Stats() const;

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  // Lends what lies below; its own blocks are changed in place, and only read.
  std::span<const std::byte> DoBorrow(Range range, Lenders& lenders) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  // A row of whole blocks is one write to the upper; any other is written piece by piece.
  void DoWriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  Result<std::vector<Origin>> DoOrigins(Range range, size_t max_count) override;
  // Passes on what reading would ask the base for.
  void DoPrefetch(std::span<const Range> ranges) override;

 private:
  OverlayDevice(std::string name, OverlayView view, uint64_t size_bytes);

  // What every operation does first inside the gate: the device may have changed since the public call checked it.
  Status CheckMayWrite(const char* operation, Range range) const;
  // Makes it durable if that is asked for, outside the gate.
  template <typename Change>
  Status ChangeThenStore(Durability durability, const Change& change);

  bool IsWholeBlocks(uint64_t offset_bytes, DataRow row) const;
  // Each splits its range into whole blocks and parts of one. That of a zeroing may end beyond the device, where its
  // last block ends.
  Status WriteAll(uint64_t offset_bytes, std::span<const std::byte> data);
  Status ZeroAll(Range range);
  Status WritePartOfBlock(uint64_t offset_bytes, std::span<const std::byte> data);
  Status ZeroPartOfBlock(Range range);

  // Fails, as operation, when anything that was written may be missing.
  static Status CheckWhole(const OverlayView& view, const char* operation);

  uint64_t RoundUpToBlock(uint64_t offset_bytes) const;

  const std::string name_;
  const std::vector<std::string> origin_names_;
  const uint32_t block_size_;

  mutable Gate gate_;
  // Changed with the gate closed only.
  OverlayView view_;
  mutable std::mutex
      stats_mutex_;  // held for a moment only, also by who changes view_.upper, so that Stats need not pass
  std::atomic<uint64_t> size_bytes_;
  std::atomic<bool> frozen_ = false;
};

}  // namespace rootloom
