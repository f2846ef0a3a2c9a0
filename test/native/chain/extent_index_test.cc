#include "native/chain/extent_index.h"

#include <algorithm>

#include "test/native/chain/chain_fixture.h"

namespace rootloom::testing {
namespace {

// Each search that this processor can do; both must give the same.
std::vector<PageTree::Search> Searches() {
  std::vector<PageTree::Search> searches{PageTree::Search::kScalar};
  if (PageTree::BestSearch() != PageTree::Search::kScalar) searches.push_back(PageTree::BestSearch());
  return searches;
}

// count mappings of at most longest pages, contiguous from 0; neighbours differ in their source.
std::vector<Mapping> RandomMappings(Random& random, size_t count, uint32_t longest) {
  std::vector<Mapping> mappings;
  uint32_t at = 0;
  for (size_t index = 0; index < count; ++index) {
    const auto length = static_cast<uint32_t>(1 + random.Below(longest));
    mappings.push_back({.offset_pages = at,
                        .length_pages = length,
                        .storage_pages = static_cast<uint32_t>(random.Below(1 << 30)),
                        .source = static_cast<uint16_t>(index % 7)});
    at += length;
  }
  return mappings;
}

// What a search must find, found without one.
size_t FindSlowly(const std::vector<Mapping>& mappings, uint64_t page) {
  const auto after = std::ranges::upper_bound(mappings, page, {}, &Mapping::offset_pages);
  return static_cast<size_t>(after - mappings.begin()) - 1;
}

class ExtentIndexTest : public ::testing::TestWithParam<PageTree::Search> {};
INSTANTIATE_TEST_SUITE_P(, ExtentIndexTest, ::testing::ValuesIn(Searches()),
                         [](const auto& info) { return info.param == PageTree::Search::kAvx2 ? "Avx2" : "Scalar"; });

// Counts around the powers of sixteen, where nodes and levels begin.
TEST_P(ExtentIndexTest, FindsTheMappingOfEveryPage) {
  Random random(11);
  for (const size_t count : {1, 2, 15, 16, 17, 31, 255, 256, 257, 272, 273, 4095, 4096, 4097, 4113, 70'000}) {
    const std::vector<Mapping> mappings = RandomMappings(random, count, 5);
    const ExtentIndex index(mappings, GetParam());
    ASSERT_EQ(index.size(), count);
    ASSERT_EQ(index.page_count(), mappings.back().end_pages());
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(index.At(i), mappings[i]);
      for (uint64_t page = mappings[i].offset_pages; page < mappings[i].end_pages(); ++page) {
        ASSERT_EQ(index.Find(page), i) << "page " << page << " of " << count << " mappings";
      }
    }
  }
}

TEST_P(ExtentIndexTest, FindsAnywhereInADeviceOf16TiB) {
  Random random(12);
  std::vector<Mapping> mappings = RandomMappings(random, 1'000'000, 8'000);
  mappings.push_back({.offset_pages = static_cast<uint32_t>(mappings.back().end_pages())});
  mappings.back().length_pages = static_cast<uint32_t>(kMaxPages - mappings.back().offset_pages);
  const ExtentIndex index(mappings, GetParam());
  ASSERT_EQ(index.page_count(), kMaxPages);
  EXPECT_EQ(index.Find(0), 0u);
  EXPECT_EQ(index.Find(kMaxPages - 1), mappings.size() - 1);
  for (int round = 0; round < 100'000; ++round) {
    const uint64_t page = random.Below(kMaxPages);
    ASSERT_EQ(index.Find(page), FindSlowly(mappings, page));
  }
}

TEST_P(ExtentIndexTest, MayHoldOneMappingOrNone) {
  const ExtentIndex whole(std::vector<Mapping>{{.length_pages = kMaxPages}}, GetParam());
  EXPECT_EQ(whole.Find(kMaxPages - 1), 0u);
  EXPECT_EQ(ExtentIndex({}, GetParam()).page_count(), 0u);
  EXPECT_EQ(ExtentIndex().page_count(), 0u);
}

TEST(ExtentIndex, TakesLessThan11BytesAMapping) {
  Random random(13);
  for (const size_t count : {100'000, 1'000'000}) {
    EXPECT_LT(ExtentIndex(RandomMappings(random, count, 9)).memory_bytes(), 11 * count);
  }
}

}  // namespace
}  // namespace rootloom::testing
