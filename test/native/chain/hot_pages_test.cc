// What is kept of which pages were read.
#include "native/chain/hot_pages.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace rootloom {
namespace {

TEST(HotPages, ContainsWhatWasNotedAndNothingElse) {
  HotPages pages;
  pages.Note({.diff = 3, .first = 14, .count = 20});
  EXPECT_TRUE(pages.Contains({.diff = 3, .first = 14, .count = 20}));
  EXPECT_TRUE(pages.Contains({.diff = 3, .first = 20, .count = 1}));
  EXPECT_FALSE(pages.Contains({.diff = 3, .first = 13, .count = 1}));
  EXPECT_FALSE(pages.Contains({.diff = 3, .first = 33, .count = 2}));
  EXPECT_FALSE(pages.Contains({.diff = 2, .first = 14, .count = 1}));
  EXPECT_FALSE(pages.Contains({.diff = 3, .first = 14 + (1ULL << 31), .count = 1}));
}

TEST(HotPages, TellsTheFirstAndTheLastPageThatThereCanBe) {
  HotPages pages;
  const HotPages::Pages first{.diff = 0, .first = 0, .count = 1};
  const HotPages::Pages last{.diff = 0xfffe, .first = 0xffffffff, .count = 1};
  pages.Note(first);
  EXPECT_TRUE(pages.Contains(first));
  EXPECT_FALSE(pages.Contains(last));
  pages.Note(last);
  EXPECT_TRUE(pages.Contains(last));
}

TEST(HotPages, KeepsAHotSetThatFits) {
  HotPages pages;
  const auto page = [](uint64_t window) {
    return HotPages::Pages{.diff = static_cast<uint16_t>(window % 1000), .first = window / 1000 * 16, .count = 1};
  };
  constexpr uint64_t kWindows = HotPages::kMaxWindows / 2;
  for (uint64_t window = 0; window < kWindows; ++window) pages.Note(page(window));
  uint64_t kept = 0;
  for (uint64_t window = 0; window < kWindows; ++window) kept += pages.Contains(page(window)) ? 1 : 0;
  EXPECT_GT(kept, kWindows * 99 / 100);
}

TEST(HotPages, StartsOverWhenOtherPagesAreReadAllTheTime) {
  HotPages pages;
  const HotPages::Pages early{.diff = 1, .first = 0, .count = 1};
  pages.Note(early);
  uint64_t noted = 0;
  for (uint64_t first = 16; !pages.StartOver(); first += 16, ++noted) {
    ASSERT_TRUE(pages.Contains(early));
    ASSERT_LT(noted, 2 * HotPages::kMaxRefusedPages);
    pages.Note({.diff = 1, .first = first, .count = 1});
  }
  EXPECT_GE(noted, HotPages::kMaxRefusedPages);
  EXPECT_FALSE(pages.Contains(early));
  EXPECT_FALSE(pages.StartOver());
  pages.Note(early);
  EXPECT_TRUE(pages.Contains(early));
}

TEST(HotPages, MayBeUsedByManyThreads) {
  HotPages pages;
  std::vector<std::thread> threads;
  for (uint16_t diff = 0; diff < 4; ++diff) {
    threads.emplace_back([&pages, diff] {
      for (uint64_t round = 0; round < 2000; ++round) {
        pages.Note({.diff = diff, .first = round % 64, .count = 40});
        pages.Contains({.diff = diff, .first = round % 64, .count = 40});
        pages.StartOver();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pages.Note({.diff = 9, .first = 5, .count = 1});
  EXPECT_TRUE(pages.Contains({.diff = 9, .first = 5, .count = 1}));
}

}  // namespace
}  // namespace rootloom
