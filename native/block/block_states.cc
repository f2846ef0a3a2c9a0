#include "native/block/block_states.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>

namespace rootloom {

namespace {

constexpr uint64_t kGroup = BlockStates::kBlocksPerGroup;
constexpr uint64_t kDataBits = 0x5555555555555555;  // the lanes of 32 blocks in state kData
constexpr uint64_t kZeroBits = kDataBits << 1;

uint64_t WordCount(uint64_t block_count) { return block_count / kGroup + (block_count % kGroup != 0); }

uint64_t LanesOf(BlockState state) { return kDataBits * static_cast<uint64_t>(state); }

// The lanes of the blocks [first, end) of one word. REQUIRES: first < end <= kGroup
uint64_t LaneMask(uint64_t first, uint64_t end) {
  const uint64_t below_end = end == kGroup ? ~uint64_t{0} : (uint64_t{1} << (2 * end)) - 1;
  return below_end & (~uint64_t{0} << (2 * first));
}

uint64_t LoadWord(uint64_t* word) { return std::atomic_ref<uint64_t>(*word).load(std::memory_order_acquire); }

}  // namespace

BlockStates::~BlockStates() {
  if (words_ != nullptr) ::munmap(words_, word_capacity_ * sizeof(Word));
}

Status BlockStates::Resize(uint64_t block_count) {
  if (block_count < block_count_) {
    Set({BlockState::kAbsent, block_count, block_count_ - block_count});
  } else if (const uint64_t word_count = WordCount(block_count); word_count > word_capacity_) {
    // New pages of a mapping are zero, and what was cut off has been set to absent: all new blocks are.
    void* const words =
        words_ == nullptr ? ::mmap(nullptr, word_count * sizeof(Word), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                          : ::mremap(words_, word_capacity_ * sizeof(Word), word_count * sizeof(Word), MREMAP_MAYMOVE);
    if (words == MAP_FAILED) return Status::Errno("track the blocks of", "an overlay", ENOMEM);
    words_ = static_cast<Word*>(words);
    word_capacity_ = word_count;
  }
  block_count_ = block_count;
  return Status::Ok();
}

BlockRun BlockStates::RunAt(uint64_t first_block, uint64_t end_block) const {
  assert(first_block < end_block && end_block <= block_count_);
  const uint64_t first_word = LoadWord(&words_[first_block / kGroup]);
  const auto state = static_cast<BlockState>(first_word >> (2 * (first_block % kGroup)) & 3);

  // Lanes that differ from state are not zero in the exclusive or; shifting brings in lanes that do not differ.
  uint64_t block = first_block;
  uint64_t word = first_word;
  for (;;) {
    const uint64_t different = (word ^ LanesOf(state)) >> (2 * (block % kGroup));
    if (different != 0) {
      block += static_cast<uint64_t>(std::countr_zero(different)) / 2;
      break;
    }
    block += kGroup - block % kGroup;
    if (block >= end_block) break;
    word = LoadWord(&words_[block / kGroup]);
  }
  return {state, first_block, std::min(block, end_block) - first_block};
}

void BlockStates::Set(const BlockRun& run) {
  assert(run.end_block() <= block_count_);
  uint64_t data_before = 0;
  uint64_t zero_before = 0;
  for (uint64_t block = run.first_block; block < run.end_block();) {
    const uint64_t lane = block % kGroup;
    const uint64_t lane_count = std::min(kGroup - lane, run.end_block() - block);
    const uint64_t mask = LaneMask(lane, lane + lane_count);
    const std::atomic_ref<Word> word(words_[block / kGroup]);
    const uint64_t old = word.load(std::memory_order_relaxed);
    // A store of what is there already would take memory for states that were never touched.
    const uint64_t changed = (old & ~mask) | (LanesOf(run.state) & mask);
    if (changed != old) word.store(changed, std::memory_order_release);
    data_before += static_cast<uint64_t>(std::popcount(old & mask & kDataBits));
    zero_before += static_cast<uint64_t>(std::popcount(old & mask & kZeroBits));
    block += lane_count;
  }
  // Unsigned wrap-around makes each addition right, also when the difference is negative.
  const uint64_t data_after = run.state == BlockState::kData ? run.block_count : 0;
  const uint64_t zero_after = run.state == BlockState::kZero ? run.block_count : 0;
  if (data_after != data_before) data_count_.fetch_add(data_after - data_before, std::memory_order_relaxed);
  if (zero_after != zero_before) zero_count_.fetch_add(zero_after - zero_before, std::memory_order_relaxed);
}

}  // namespace rootloom
