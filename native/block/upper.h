// Upper: the private sparse file that takes an overlay's writes, and a state for each of its blocks in memory.
//
// Block b lies at b * block_size() of the file. Invariants:
//
//  1. A block's state alone says where its bytes are: kAbsent below (what the overlay lies over), kData in the file,
//     kZero nowhere. So a hole that cannot be punched costs space and nothing else.
//  2. Data reaches the file before the state says kData.
//  3. Only the holder of a block's stripe lock changes its state or its bytes in the file. What is below is read
//     before the lock is taken, so that a slow base holds up nobody else. Reads take no lock.
//  4. No block becomes absent again but by Resize.
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

#include "native/block/block_states.h"
#include "native/block/device.h"
#include "native/block/sticky_sync.h"
#include "native/util/call_context.h"
#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom {

// Thread-safe but for Resize, which excludes every other call. Blocks and ranges lie within block_count() blocks.
class Upper {
 public:
  // Makes the file, which must not exist (EEXIST), and removes its name at once: the space comes back when the upper is
  // destroyed, also when the process is killed. REQUIRES: block_size is one that CheckBlockSize takes
  static Result<std::shared_ptr<Upper>> Create(const std::string& path, uint64_t block_count, uint32_t block_size);

  uint32_t block_size() const { return block_size_; }
  // The file's size is block_count() whole blocks. The upper owns the descriptor.
  int fd() const { return file_.get(); }
  const std::string& path() const { return path_; }
  const BlockStates& states() const { return states_; }

  // New blocks are absent; blocks beyond the end are forgotten. Changes nothing on failure.
  Status Resize(uint64_t block_count);

  // Pieces of whole blocks: blocks that are all zero become zero, each row of the others is written at once.
  Status WriteBlocks(uint64_t first_block, DataRow row);
  // Fills a whole block with what is below it.
  using ReadBelow = std::function<Status(uint64_t offset_bytes, std::span<std::byte> block)>;
  // A range within one block. What is below is read when the block is absent, once.
  Status WritePart(uint64_t offset_bytes, std::span<const std::byte> data, const ReadBelow& read_below);
  void ZeroBlocks(uint64_t first_block, uint64_t block_count);

  // Makes everything durable. When the kernel reports that written data was lost, the data stays lost: this and every
  // later call fail with that error.
  Status Sync();
  // The same part by part, with a look at the stop token before each. REQUIRES: nothing is written any more
  Status Store(const CallContext& context);
  // Fails as Sync does when written data was lost, but leaves alone what the kernel has yet to store: that is still
  // whole in its memory. REQUIRES: nothing is written any more
  Status CheckKept(const CallContext& context);

  // Keeps the first failure to store something, and passes the status on.
  Status NoteDamage(Status status);
  // That failure, or Ok. A Sync that failed counts.
  Status Damage();

 private:
  Upper(std::string path, UniqueFd file, uint32_t block_size)
      : path_(std::move(path)), file_(std::move(file)), block_size_(block_size) {}

  // The blocks of a row, one after the other.
  class RowCursor;
  // Those that lie in the stripe of first_block, whose lock is held.
  Status WriteInStripe(uint64_t first_block, RowCursor& row);
  void SetZeroAndPunch(uint64_t first_block, uint64_t block_count);

  // Visits the stripes that hold data, from their first block of it on.
  Status ForEachDataPart(const CallContext& context,
                         const std::function<Status(uint64_t offset_bytes, uint64_t length_bytes)>& visit);
  std::mutex& StripeOf(uint64_t block);

  const std::string path_;
  const UniqueFd file_;
  const uint32_t block_size_;
  BlockStates states_;
  std::array<std::mutex, 128> stripes_;
  std::atomic<bool> can_punch_ = true;
  StickySync sync_;
  std::mutex damage_mutex_;
  std::optional<Failure> damage_;  // protected by damage_mutex_
};

}  // namespace rootloom
