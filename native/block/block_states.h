// BlockStates: what an overlay knows about each of its blocks, two bits a block.
#pragma once

#include <atomic>
#include <cstdint>

#include "native/util/status.h"

namespace rootloom {

enum class BlockState : uint8_t {
  kAbsent = 0,  // never written: reads come from the base
  kData = 1,    // stored in the upper file
  kZero = 2,    // reads as zeros, stored nowhere
};

struct BlockRun {
  BlockState state = BlockState::kAbsent;
  uint64_t first_block = 0;
  uint64_t block_count = 0;
  uint64_t end_block() const { return first_block + block_count; }
  bool operator==(const BlockRun&) const = default;
};

// A state for each of block_count() blocks, all absent at first.
//
// The memory is mapped, not filled: that of blocks that were never touched takes no room, and making the states of a
// large device takes no time.
//
// RunAt and the counters may be called at any time, from any thread, and see each block either before or after a
// concurrent Set. Concurrent calls of Set must not share a group of kBlocksPerGroup neighbouring blocks: the caller
// locks by group. Resize excludes every other call.
class BlockStates {
 public:
  static constexpr uint64_t kBlocksPerGroup = 32;

  BlockStates() = default;
  BlockStates(const BlockStates&) = delete;
  BlockStates& operator=(const BlockStates&) = delete;
  ~BlockStates();

  uint64_t block_count() const { return block_count_; }
  uint64_t data_count() const { return data_count_.load(std::memory_order_relaxed); }
  uint64_t zero_count() const { return zero_count_.load(std::memory_order_relaxed); }

  // New blocks are absent; blocks beyond the end are forgotten. Fails with ENOMEM and changes nothing.
  Status Resize(uint64_t block_count);

  // The longest run of one state that starts at first_block and ends at or before end_block.
  // REQUIRES: first_block < end_block <= block_count()
  BlockRun RunAt(uint64_t first_block, uint64_t end_block) const;

  // Visits the runs in ascending order: together they cover all blocks. Stops at the first failure of visit, and
  // returns it. With concurrent calls of Set each run is as it was when it was looked at.
  template <typename Visit>
  Status ForEachRun(const Visit& visit) const {
    for (uint64_t block = 0; block < block_count_;) {
      const BlockRun run = RunAt(block, block_count_);
      ROOTLOOM_RETURN_IF_ERROR(visit(run));
      block = run.end_block();
    }
    return Status::Ok();
  }

  // REQUIRES: run.end_block() <= block_count(). Everything stored before Set is visible to whoever sees its result.
  void Set(const BlockRun& run);

 private:
  using Word = uint64_t;  // kBlocksPerGroup lanes of two bits, the first block lowest
  static_assert(std::atomic_ref<Word>::is_always_lock_free);

  Word* words_ = nullptr;  // a mapping of its own; every access to an element is atomic
  uint64_t word_capacity_ = 0;
  uint64_t block_count_ = 0;
  std::atomic<uint64_t> data_count_ = 0;
  std::atomic<uint64_t> zero_count_ = 0;
};

}  // namespace rootloom
