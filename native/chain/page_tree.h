// PageTree: a sorted column of page numbers, searched sixteen at a time.
//
// The bottom level is the column itself, in nodes of sixteen keys: one cache line. Each key of a level above is the
// first key of a node below, so a search reads one node a level, and no branch of it depends on what it reads: the
// processor works on many searches at once. For 100,000 keys that are five lines, all but the last of which stay in
// cache; a binary search reads seventeen. The levels above the bottom cost a fifteenth of it.
//
// Within a node AVX2 compares eight keys at once; a processor without it takes four dependent steps.
// The benchmark `chain` measures both, beside a binary search of the bare column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rootloom {

class PageTree {
 public:
  enum class Search : uint8_t { kScalar, kAvx2 };
  // The fastest that this processor can do.
  static Search BestSearch();

  PageTree() = default;
  // Of count keys: key_at(index) gives them in ascending order, each once, all below UINT32_MAX. search is BestSearch()
  // but in tests. REQUIRES: the processor can do search
  template <typename KeyAt>
  PageTree(size_t count, const KeyAt& key_at, Search search) : size_(count), search_(search) {
    MakeBottom();
    for (size_t index = 0; index < count; ++index) nodes_[index / kFanout].keys[index % kFanout] = key_at(index);
    AddLevels();
  }

  size_t size() const { return size_; }
  uint32_t operator[](size_t index) const { return nodes_[index / kFanout].keys[index % kFanout]; }

  // The index of the last key that is at most page. REQUIRES: there is one
  size_t Find(uint32_t page) const;

  size_t memory_bytes() const { return nodes_.capacity() * sizeof(Node); }

 private:
  static constexpr size_t kFanout = 16;
  static constexpr size_t kMaxLevels = 8;  // 16^8 = 2^32

  struct alignas(64) Node {
    uint32_t keys[kFanout];
  };

  // Nodes for size_ keys, with UINT32_MAX where there will be none.
  void MakeBottom();
  void AddLevels();
  template <auto FindInNode>
  size_t Descend(uint32_t page) const;
  size_t FindWithAvx2(uint32_t page) const;

  std::vector<Node> nodes_;            // level after level, the bottom first; what a node lacks is UINT32_MAX
  size_t level_starts_[kMaxLevels]{};  // in nodes_
  size_t level_count_ = 0;
  size_t size_ = 0;
  Search search_ = Search::kScalar;
};

}  // namespace rootloom
