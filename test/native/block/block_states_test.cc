#include "native/block/block_states.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "test/native/util/random.h"
#include "test/native/util/status_matchers.h"

namespace rootloom::testing {
namespace {

TEST(BlockStatesTest, AgreesWithAPlainArray) {
  Random random(1);
  BlockStates states;
  std::vector<BlockState> model;
  for (int step = 0; step < 3000 && !::testing::Test::HasFailure(); ++step) {
    if (model.empty() || random.OneIn(50)) {
      const uint64_t count = 1 + random.Below(400);
      ASSERT_TRUE(IsOk(states.Resize(count)));
      model.resize(count, BlockState::kAbsent);
    }
    const uint64_t first = random.Below(model.size());
    const uint64_t count = 1 + random.Below(model.size() - first);
    const auto state = static_cast<BlockState>(random.Below(3));
    states.Set({state, first, count});
    std::fill_n(model.begin() + static_cast<ptrdiff_t>(first), count, state);

    ASSERT_EQ(states.block_count(), model.size());
    ASSERT_EQ(states.data_count(), static_cast<uint64_t>(std::count(model.begin(), model.end(), BlockState::kData)));
    ASSERT_EQ(states.zero_count(), static_cast<uint64_t>(std::count(model.begin(), model.end(), BlockState::kZero)));
    const uint64_t from = random.Below(model.size());
    const uint64_t end = from + 1 + random.Below(model.size() - from);
    const BlockRun run = states.RunAt(from, end);
    ASSERT_EQ(run.state, model[from]);
    uint64_t expected_end = from;
    while (expected_end < end && model[expected_end] == model[from]) ++expected_end;
    ASSERT_EQ(run, (BlockRun{model[from], from, expected_end - from}));
  }
}

TEST(BlockStatesTest, AHugeAbsentDeviceIsOneRun) {
  BlockStates states;
  ASSERT_TRUE(IsOk(states.Resize(uint64_t{1} << 24)));
  EXPECT_EQ(states.RunAt(0, uint64_t{1} << 24), (BlockRun{BlockState::kAbsent, 0, uint64_t{1} << 24}));
}

TEST(BlockStatesTest, WhatWasStoredBeforeSetIsSeenAfterIt) {
  constexpr uint64_t kCount = 64;
  BlockStates states;
  ASSERT_TRUE(IsOk(states.Resize(kCount)));
  std::vector<uint64_t> stored(kCount);
  std::thread writer([&] {
    for (uint64_t block = 0; block < kCount; ++block) {
      stored[block] = block + 1;
      states.Set({BlockState::kData, block, 1});
    }
  });
  for (uint64_t block = 0; block < kCount; ++block) {
    while (states.RunAt(block, block + 1).state != BlockState::kData) std::this_thread::yield();
    EXPECT_EQ(stored[block], block + 1);
  }
  writer.join();
}

}  // namespace
}  // namespace rootloom::testing
