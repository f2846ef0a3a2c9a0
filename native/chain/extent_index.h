// ExtentIndex: finds where a page of a device is stored.
//
// Ten bytes a mapping, in columns: a lookup is a binary search over one packed column of 32-bit page numbers, and
// costs the same however many builds deep the history is. Lengths are not kept: mappings are contiguous, so each ends
// where the next one starts. Immutable, so any number of threads may look up at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/chain/mapping.h"

namespace rootloom {

class ExtentIndex {
 public:
  ExtentIndex() = default;
  // REQUIRES: mappings are those of a normalised header: contiguous from 0, none empty.
  explicit ExtentIndex(std::span<const Mapping> mappings);

  size_t size() const { return sources_.size(); }
  uint64_t page_count() const { return page_count_; }
  Mapping At(size_t index) const;
  // The index of the mapping that holds page. REQUIRES: page < page_count()
  size_t Find(uint64_t page) const;

 private:
  std::vector<uint32_t> offset_pages_;
  std::vector<uint32_t> storage_pages_;
  std::vector<uint16_t> sources_;
  uint64_t page_count_ = 0;
};

}  // namespace rootloom
