#include "native/chain/page_tree.h"

#include <algorithm>
#include <utility>

#include "native/util/large_buffer.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rootloom {

namespace {

constexpr uint32_t kNoKey = UINT32_MAX;

// Both give the last of sixteen ascending keys that is at most page. REQUIRES: keys[0] <= page
[[gnu::always_inline]] inline size_t FindScalar(const uint32_t* keys, uint32_t page) {
  size_t at = keys[8] <= page ? 8 : 0;
  at += keys[at + 4] <= page ? 4 : 0;
  at += keys[at + 2] <= page ? 2 : 0;
  return at + (keys[at + 1] <= page ? 1 : 0);
}

#if defined(__x86_64__)
#define ROOTLOOM_AVX2 [[gnu::target("avx2,popcnt")]]

// Not always_inline: it can be inlined only once Descend has become part of a function for AVX2.
ROOTLOOM_AVX2 inline size_t FindAvx2(const uint32_t* keys, uint32_t page) {
  const __m256i wanted = _mm256_set1_epi32(static_cast<int>(page));
  const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(keys));
  const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(keys + 8));
  const __m256i low_at_most = _mm256_cmpeq_epi32(_mm256_max_epu32(low, wanted), wanted);
  const __m256i high_at_most = _mm256_cmpeq_epi32(_mm256_max_epu32(high, wanted), wanted);
  // Two bits for each key that is at most page.
  const auto bits = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi32(low_at_most, high_at_most)));
  return static_cast<size_t>(_mm_popcnt_u32(bits)) / 2 - 1;
}
#else  // Never chosen.
#define ROOTLOOM_AVX2
constexpr auto FindAvx2 = FindScalar;
#endif

}  // namespace

PageTree::Search PageTree::BestSearch() {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  return has_avx2 ? Search::kAvx2 : Search::kScalar;
#else
  return Search::kScalar;
#endif
}

void PageTree::MakeBottom() {
  const size_t bottom = (size_ + kFanout - 1) / kFanout;
  size_t total = bottom;
  for (size_t level = bottom; level > 1;) total += level = (level + kFanout - 1) / kFanout;
  ReserveLarge(nodes_, total);
  nodes_.resize(bottom);
  if (size_ % kFanout != 0) std::ranges::fill(nodes_.back().keys, kNoKey);
}

void PageTree::AddLevels() {
  level_count_ = size_ == 0 ? 0 : 1;
  for (size_t first = 0, end = nodes_.size(); end - first > 1; first = std::exchange(end, nodes_.size())) {
    level_starts_[level_count_++] = end;
    for (size_t child = first; child < end; ++child) {
      const size_t at = (child - first) % kFanout;
      if (at == 0) std::ranges::fill(nodes_.emplace_back().keys, kNoKey);
      nodes_.back().keys[at] = nodes_[child].keys[0];
    }
  }
}

template <auto FindInNode>
[[gnu::always_inline]] inline size_t PageTree::Descend(uint32_t page) const {
  const Node* const nodes = nodes_.data();
  size_t at = FindInNode(nodes[level_starts_[level_count_ - 1]].keys, page);
  for (size_t level = level_count_ - 1; level-- > 0;) {
    at = at * kFanout + FindInNode(nodes[level_starts_[level] + at].keys, page);
  }
  return at;
}

ROOTLOOM_AVX2 size_t PageTree::FindWithAvx2(uint32_t page) const { return Descend<FindAvx2>(page); }

size_t PageTree::Find(uint32_t page) const {
  return search_ == Search::kAvx2 ? FindWithAvx2(page) : Descend<FindScalar>(page);
}

}  // namespace rootloom
