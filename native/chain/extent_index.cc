#include "native/chain/extent_index.h"

namespace rootloom {

ExtentIndex::ExtentIndex(std::span<const Mapping> mappings, PageTree::Search search) {
  offset_pages_.Reserve(mappings.size());
  storage_pages_.reserve(mappings.size());
  sources_.reserve(mappings.size());
  for (const Mapping& mapping : mappings) {
    offset_pages_.Add(mapping.offset_pages);
    storage_pages_.push_back(mapping.storage_pages);
    sources_.push_back(mapping.source);
    page_count_ = mapping.end_pages();
  }
  offset_pages_.Finish(search);
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
