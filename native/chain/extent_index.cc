#include "native/chain/extent_index.h"

#include "native/util/large_buffer.h"

namespace rootloom {

ExtentIndex::ExtentIndex(std::span<const Mapping> mappings, PageTree::Search search)
    : page_count_(mappings.empty() ? 0 : mappings.back().end_pages()) {
  ReserveLarge(storage_pages_, mappings.size());
  ReserveLarge(sources_, mappings.size());
  // All columns in one pass: millions of mappings are more than a processor's cache holds.
  const auto split = [&](size_t index) {
    const Mapping& mapping = mappings[index];
    storage_pages_.push_back(mapping.storage_pages);
    sources_.push_back(mapping.source);
    return mapping.offset_pages;
  };
  offset_pages_ = PageTree(mappings.size(), split, search);
}

Mapping ExtentIndex::At(size_t index) const {
  const uint64_t end = index + 1 < size() ? offset_pages_[index + 1] : page_count_;
  return Mapping{.offset_pages = offset_pages_[index],
                 .length_pages = static_cast<uint32_t>(end - offset_pages_[index]),
                 .storage_pages = storage_pages_[index],
                 .source = sources_[index]};
}

size_t ExtentIndex::memory_bytes() const {
  return offset_pages_.memory_bytes() + storage_pages_.capacity() * sizeof(uint32_t) +
         sources_.capacity() * sizeof(uint16_t);
}

}  // namespace rootloom
