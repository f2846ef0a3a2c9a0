#include "native/chain/extent_index.h"

#include <algorithm>

namespace rootloom {

ExtentIndex::ExtentIndex(std::span<const Mapping> mappings) {
  offset_pages_.reserve(mappings.size());
  storage_pages_.reserve(mappings.size());
  sources_.reserve(mappings.size());
  for (const Mapping& mapping : mappings) {
    offset_pages_.push_back(mapping.offset_pages);
    storage_pages_.push_back(mapping.storage_pages);
    sources_.push_back(mapping.source);
    page_count_ = mapping.end_pages();
  }
}

Mapping ExtentIndex::At(size_t index) const {
  const uint64_t end = index + 1 < size() ? offset_pages_[index + 1] : page_count_;
  return Mapping{.offset_pages = offset_pages_[index],
                 .length_pages = static_cast<uint32_t>(end - offset_pages_[index]),
                 .storage_pages = storage_pages_[index],
                 .source = sources_[index]};
}

size_t ExtentIndex::Find(uint64_t page) const {
  const auto after = std::upper_bound(offset_pages_.begin(), offset_pages_.end(), page);
  return static_cast<size_t>(after - offset_pages_.begin()) - 1;
}

}  // namespace rootloom
