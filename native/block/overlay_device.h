// OverlayDevice: a writable device over a read-only one.
//
// What is written goes to the upper, a private sparse file where block b lies at b * block_size(), and to a state for
// each block in memory; the base is only read. Invariants:
//
//  1. A block's state alone says where its bytes are: kAbsent in the base (zeros where the base has ended), kData in
//     the upper, kZero nowhere. So a hole that cannot be punched costs space and nothing else.
//  2. Data reaches the upper before the state says kData.
//  3. Only the holder of a block's stripe lock changes its state or its bytes in the upper. The base is read before
//     the lock is taken, so that a slow base holds up nobody else. Reads take no stripe lock.
//  4. Every operation passes the gate. Resize and Freeze close it, and so meet no operation half done.
//  5. In the upper, the bytes of the last block that lie beyond the device's end are zero.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "native/block/block_states.h"
#include "native/block/device.h"
#include "native/block/gate.h"
#include "native/block/sticky_sync.h"
#include "native/util/call_context.h"
#include "native/util/unique_fd.h"

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

  std::string name() const override;
  uint64_t size_bytes() const override { return size_bytes_.load(std::memory_order_acquire); }
  uint32_t block_size() const override { return block_size_; }
  bool writable() const override { return !frozen(); }

  // Makes the upper durable. When the kernel reports that written data was lost, the data stays lost: this and every
  // later Flush fail with that error.
  Status Flush() override;

  // Sets the size. Growing: the new tail reads as zeros, whatever the base has there. Shrinking: what was beyond is
  // gone, and its space is freed. Waits for running operations. On failure the size and all content
  // below the smaller of both sizes are unchanged. Fails with EROFS when frozen.
  Status Resize(uint64_t new_size_bytes);

  // Ends writing for good, so that the overlay can be sealed: waits for every running operation, refuses each later
  // write, zero, trim and resize with EROFS, and flushes the upper.
  //
  // Fails when anything that was written may be missing: the upper could not be flushed now or earlier, or an earlier
  // write or zero failed, even though its caller was told. A disk with a hole in it must not become a build. The
  // overlay is then frozen all the same, and every later Freeze fails in the same way. Idempotent.
  //
  // Storing many gigabytes takes long: it is done in parts, with a look at the stop token before each. When that is
  // triggered, it fails with kCancelled, frozen all the same, and the next Freeze goes on.
  //
  // After success, until the overlay is destroyed: no state and no byte of the upper changes, ForEachRun may be
  // used, upper_fd() may be read (pread, copy_file_range) from any thread, and the overlay can be the base of another.
  Status Freeze(const CallContext& context = {});
  bool frozen() const { return frozen_.load(std::memory_order_acquire); }

  // The file of which the bytes of block b, when its state is kData, are the block_size() ones at b * block_size().
  // Its size is block_count() whole blocks. The overlay owns the descriptor. Stable only when frozen.
  int upper_fd() const { return upper_.get(); }
  const std::string& upper_path() const { return upper_path_; }

  // The number of blocks, the last of which may be cut short by the device's end.
  uint64_t block_count() const;
  // REQUIRES: block < block_count(). Without Freeze the answer may be outdated when it arrives.
  BlockState StateAt(uint64_t block) const;

  // Visits the runs of blocks of one state in ascending order: together they cover the device. Stops at the first
  // failure of visit, and returns it. Fails with kInvalidArgument when the overlay is not frozen.
  Status ForEachRun(const std::function<Status(const BlockRun&)>& visit) const;

  // Makes target read as this does, given that it reads as the base: writes the blocks that were written here, and
  // zeroes those that were zeroed. Fails, having changed nothing, when anything that was written may be missing; after
  // a failure of target's, or when the stop token was triggered, a part is done. REQUIRES: nothing is written
  // meanwhile.
  Status CopyChangesTo(Device& target, const CallContext& context);

  // Never waits.
  OverlayStats Stats() const { return {states_.data_count(), states_.zero_count()}; }
  const std::shared_ptr<Device>& base() const { return base_; }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  // Passes on what reading would ask the base for.
  void DoPrefetch(std::span<const Range> ranges) override;

 private:
  OverlayDevice(std::shared_ptr<Device> base, std::string upper_path, UniqueFd upper, uint32_t block_size);

  // What every operation does first inside the gate: the device may have changed since the public call checked it.
  Status CheckMayWrite(const char* operation, Range range) const;

  // Each splits its range: first by stripe, then into whole blocks and parts of one. The range of a zeroing may end
  // beyond the device, where its last block ends.
  Status WriteAll(uint64_t offset_bytes, std::span<const std::byte> data);
  Status ZeroAll(Range range);
  Status WriteWholeBlocks(uint64_t first_block, std::span<const std::byte> data);
  Status WritePartOfBlock(uint64_t offset_bytes, std::span<const std::byte> data);
  Status ZeroPartOfBlock(Range range);
  void ZeroWholeBlocks(uint64_t first_block, uint64_t block_count);
  // REQUIRES: the stripe of the blocks is locked
  void SetZeroAndPunch(uint64_t first_block, uint64_t block_count);

  // Fits the upper and the states to a size; changes nothing on failure. REQUIRES: the gate is closed
  Status MakeRoom(uint64_t size_bytes);
  // Reads as zeros what lies beyond the base.
  Status ReadBase(uint64_t offset_bytes, std::span<std::byte> buffer);
  Status SyncUpper();
  // Stores the data in the upper part by part. REQUIRES: frozen
  Status StoreUpper(const CallContext& context);
  // Keeps the first failure to store something, for Freeze, and passes the status on.
  Status NoteDamage(Status status);
  // Fails with what was noted.
  Status CheckUndamaged(const char* operation);

  uint64_t RoundUpToBlock(uint64_t offset_bytes) const;
  std::mutex& StripeOf(uint64_t block);

  const std::shared_ptr<Device> base_;
  const uint64_t base_size_bytes_;
  const std::string upper_path_;
  const UniqueFd upper_;
  const uint32_t block_size_;

  mutable Gate gate_;
  // Changed with the gate closed only.
  std::atomic<uint64_t> size_bytes_ = 0;
  std::atomic<bool> frozen_ = false;

  BlockStates states_;
  std::array<std::mutex, 128> stripes_;
  std::atomic<bool> can_punch_ = true;

  StickySync sync_;
  std::mutex failure_mutex_;
  std::optional<Failure> damage_;  // protected by failure_mutex_
};

}  // namespace rootloom
