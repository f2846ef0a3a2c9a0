// Mappings and their index, against one entry a page.
#include "native/chain/mapping.h"

#include "test/native/chain/chain_fixture.h"

namespace rootloom::testing {
namespace {

// What a page reads: its source, and where there. Zeros are all the same.
using Page = std::pair<uint16_t, uint32_t>;

std::vector<Page> Expand(std::span<const Mapping> mappings, uint64_t page_count) {
  std::vector<Page> pages(page_count, Page{kZeroSource, UINT32_MAX});
  for (const Mapping& mapping : mappings) {
    for (uint32_t i = 0; i < mapping.length_pages; ++i) {
      const uint32_t storage = mapping.source == kZeroSource ? 0 : mapping.storage_pages + i;
      pages.at(mapping.offset_pages + i) = {mapping.source, storage};
    }
  }
  return pages;
}

// Contiguous from 0 to page_count, neighbours joined.
void ExpectNormal(std::span<const Mapping> mappings, uint64_t page_count) {
  uint64_t position = 0;
  for (size_t index = 0; index < mappings.size(); ++index) {
    ASSERT_EQ(mappings[index].offset_pages, position);
    ASSERT_GT(mappings[index].length_pages, 0u);
    ASSERT_FALSE(index > 0 && ReadsOn(mappings[index - 1], mappings[index])) << index;
    position = mappings[index].end_pages();
  }
  EXPECT_EQ(position, page_count);
}

Mapping RandomMapping(Random& random, uint64_t offset, uint64_t most_pages) {
  Mapping mapping{.offset_pages = static_cast<uint32_t>(offset),
                  .length_pages = static_cast<uint32_t>(1 + random.Below(most_pages))};
  if (random.OneIn(3)) return mapping;
  mapping.source = static_cast<uint16_t>(random.Below(3));
  mapping.storage_pages = static_cast<uint32_t>(random.Below(6));
  return mapping;
}

std::vector<Mapping> RandomBase(Random& random, uint64_t page_count) {
  std::vector<Mapping> mappings;
  for (uint64_t at = 0; at < page_count; at = mappings.back().end_pages()) {
    AppendMapping(mappings, RandomMapping(random, at, std::min<uint64_t>(8, page_count - at)));
  }
  return mappings;
}

TEST(MergeMappings, KeepsTheBaseWithoutADiff) {
  const std::vector<Mapping> base{{0, 4, 0, 0}, {4, 4, 0, kZeroSource}};
  EXPECT_EQ(MergeMappings(base, {}), base);
  EXPECT_TRUE(MergeMappings({}, {}).empty());
}

TEST(MergeMappings, SplitsTheBaseAndShiftsItsRightPart) {
  const std::vector<Mapping> base{{0, 10, 100, 0}};
  const std::vector<Mapping> diff{{3, 2, 0, 1}, {6, 1, 0, kZeroSource}};
  EXPECT_EQ(
      MergeMappings(base, diff),
      (std::vector<Mapping>{{0, 3, 100, 0}, {3, 2, 0, 1}, {5, 1, 105, 0}, {6, 1, 0, kZeroSource}, {7, 3, 107, 0}}));
}

TEST(MergeMappings, LetsADiffReachAcrossManyMappings) {
  const std::vector<Mapping> base{{0, 2, 9, 0}, {2, 2, 0, kZeroSource}, {4, 2, 20, 0}, {6, 2, 30, 0}};
  const std::vector<Mapping> diff{{1, 6, 0, 1}};
  EXPECT_EQ(MergeMappings(base, diff), (std::vector<Mapping>{{0, 1, 9, 0}, {1, 6, 0, 1}, {7, 1, 31, 0}}));
}

TEST(MergeMappings, AgreesWithPagesOneByOne) {
  Random random(10);
  for (int round = 0; round < 3000; ++round) {
    const uint64_t page_count = 1 + random.Below(64);
    const std::vector<Mapping> base = RandomBase(random, page_count);
    std::vector<Mapping> diff;
    std::vector<Page> wanted = Expand(base, page_count);
    for (uint64_t at = random.Below(8); at < page_count;) {
      const Mapping run = RandomMapping(random, at, std::min<uint64_t>(8, page_count - at));
      AppendMapping(diff, run);
      const std::vector<Page> pages = Expand(std::array{run}, page_count);
      std::copy(pages.begin() + run.offset_pages, pages.begin() + static_cast<ptrdiff_t>(run.end_pages()),
                wanted.begin() + run.offset_pages);
      at = run.end_pages() + random.Below(6);
    }
    const std::vector<Mapping> merged = MergeMappings(base, diff);
    ASSERT_EQ(Expand(merged, page_count), wanted) << round;
    ASSERT_NO_FATAL_FAILURE(ExpectNormal(merged, page_count)) << round;
  }
}

TEST(ResizeMappings, CutsAndGrowsWithZeros) {
  const std::vector<Mapping> base{{0, 4, 5, 0}, {4, 4, 0, kZeroSource}, {8, 2, 0, 1}};
  EXPECT_EQ(ResizeMappings(base, 10), base);
  EXPECT_EQ(ResizeMappings(base, 2), (std::vector<Mapping>{{0, 2, 5, 0}}));
  EXPECT_EQ(ResizeMappings(base, 7), (std::vector<Mapping>{{0, 4, 5, 0}, {4, 3, 0, kZeroSource}}));
  EXPECT_TRUE(ResizeMappings(base, 0).empty());
  EXPECT_EQ(ResizeMappings(base, 12).back(), (Mapping{10, 2, 0, kZeroSource}));
  EXPECT_EQ(ResizeMappings(ResizeMappings(base, 7), 9).back(), (Mapping{4, 5, 0, kZeroSource})) << "zeros join";
  EXPECT_EQ(ResizeMappings({}, 3), (std::vector<Mapping>{{0, 3, 0, kZeroSource}}));
  EXPECT_EQ(ResizeMappings({}, kMaxPages).front().length_pages, kMaxPages);
}

}  // namespace
}  // namespace rootloom::testing
