// ExtentIndex: finds where a page of a device is stored.
//
// Less than eleven bytes a mapping, in columns: where it begins on the device (a PageTree), where in its source, and
// which source. A lookup reads five cache lines for 100,000 mappings, and costs the same however many builds deep the
// history is. Lengths are not kept: mappings are contiguous, so each ends where the next one starts. Immutable, so any
// number of threads may look up at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/chain/mapping.h"
#include "native/chain/page_tree.h"

namespace rootloom {

class ExtentIndex {
 public:
  ExtentIndex() = default;
  // REQUIRES: mappings are those of a normalised header: contiguous from 0, none empty.
  // search as PageTree takes it.
  explicit ExtentIndex(std::span<const Mapping> mappings, PageTree::Search search = PageTree::BestSearch());

  size_t size() const { return sources_.size(); }
  uint64_t page_count() const { return page_count_; }
  Mapping At(size_t index) const;
  // The index of the mapping that holds page. REQUIRES: page < page_count()
  size_t Find(uint64_t page) const { return offset_pages_.Find(static_cast<uint32_t>(page)); }
  size_t memory_bytes() const;

 private:
  PageTree offset_pages_;
  std::vector<uint32_t> storage_pages_;
  std::vector<uint16_t> sources_;
  uint64_t page_count_ = 0;
};

}  // namespace rootloom
