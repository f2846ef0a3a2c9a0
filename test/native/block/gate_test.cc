#include "native/block/gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace rootloom::testing {
namespace {

TEST(GateTest, NobodyIsInsideWhileItIsClosed) {
  Gate gate;
  std::atomic<bool> stop = false;
  std::atomic<int> inside = 0;
  std::atomic<uint64_t> passes = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        Gate::Pass pass(gate);
        ++inside;
        ++passes;
        --inside;
      }
    });
  }
  // Every closing succeeds although the gate is busy all the time.
  for (int i = 0; i < 500; ++i) {
    Gate::Closure closure(gate);
    ASSERT_EQ(inside, 0);
    const uint64_t before = passes;
    std::this_thread::yield();
    ASSERT_EQ(passes, before);
  }
  const uint64_t before = passes;
  while (passes == before) std::this_thread::yield();
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(GateTest, ClosingsExcludeEachOther) {
  Gate gate;
  int counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        Gate::Closure closure(gate);
        ++counter;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 2000);
}

}  // namespace
}  // namespace rootloom::testing
