// OverlayCut: what an overlay held at one moment; and OverlayView, which an overlay and its cuts read through.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/block/gate.h"
#include "native/block/upper.h"
#include "native/util/call_context.h"

namespace rootloom {

class OverlayCut;

// An upper, and what lies below it: the blocks that the upper does not have. A value; it shares ownership.
struct OverlayView {
  std::shared_ptr<Upper> upper;
  std::shared_ptr<Device> below;
  std::shared_ptr<OverlayCut> below_as_cut;  // below itself, when it is a cut
  uint64_t below_size_bytes = 0;             // beyond it, what is below reads as zeros

  // The range ends within the upper's blocks; what of its last block lies beyond the device is of no account.
  Status Read(uint64_t offset_bytes, std::span<std::byte> buffer) const;
  Status ReadBelow(uint64_t offset_bytes, std::span<std::byte> buffer) const;
  // What below lends, of a range that is all there.
  std::span<const std::byte> Borrow(Range range, Lenders& lenders) const;
  Result<std::vector<Extent>> Extents(Range range, size_t max_count) const;
  // What below says of its part; the upper's is of no origin.
  Result<std::vector<Origin>> Origins(Range range, size_t max_count) const;
  // Passes on what reading would ask for below.
  void Prefetch(std::span<const Range> ranges, uint64_t size_bytes) const;
  // Of everything below that is not stored for good.
  Status FlushBelow() const;
};

// A read-only device: exactly the writes of the overlay that had returned when it was cut, and whole ones of those that
// had not. Nothing changes it. Thread-safe.
//
// The overlay reads through it until it is settled, and it keeps the upper that was cut off and what lies below that.
class OverlayCut final : public Device {
 public:
  std::string name() const override { return name_; }
  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t block_size() const override { return block_size_; }
  bool writable() const override { return false; }
  // Makes durable what is in the cut, and in the cuts below it. Fails for good when any of it was lost.
  Status Flush() override;
  // The same part by part, with a look at the stop token before each.
  Status Store(const CallContext& context);

  // Fails as Flush does when any of it was lost, but stores nothing (see Upper::CheckKept).
  Status CheckKept(const CallContext& context);

  // Ends the cut's own storage: from now on sealed, which must hold the same bytes for as long as the cut exists (the
  // chain of the build that the cut was sealed as), is read in its place, and what the cut held is given back. Waits
  // for running reads. Fails with kInvalidArgument when sealed has another size, or when the cut is settled already.
  Status Settle(std::shared_ptr<Device> sealed);

  // What the cut consists of, for sealing. After Settle upper is null, and below what it was settled on.
  OverlayView view() const;

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  std::span<const std::byte> DoBorrow(Range range, Lenders& lenders) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  // After Settle all of it is of no origin: the sealed chain counts its builds in another way than the one before.
  Result<std::vector<Origin>> DoOrigins(Range range, size_t max_count) override;
  void DoPrefetch(std::span<const Range> ranges) override;

 private:
  friend class OverlayDevice;
  // REQUIRES: nothing changes view's upper any more
  OverlayCut(std::string name, uint64_t size_bytes, OverlayView view);

  const std::string name_;
  const uint64_t size_bytes_;
  const uint32_t block_size_;
  mutable Gate gate_;
  OverlayView view_;  // changed with the gate closed only
  std::atomic<bool> stored_ = false;
};

}  // namespace rootloom
