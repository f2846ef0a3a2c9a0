#include "native/chain/mapping.h"

#include <algorithm>

namespace rootloom {

namespace {

// The part of mapping between two pages that it covers.
Mapping Slice(const Mapping& mapping, uint64_t from_pages, uint64_t to_pages) {
  Mapping part = mapping;
  part.offset_pages = static_cast<uint32_t>(from_pages);
  part.length_pages = static_cast<uint32_t>(to_pages - from_pages);
  if (mapping.source != kZeroSource) {
    part.storage_pages = static_cast<uint32_t>(mapping.storage_pages + (from_pages - mapping.offset_pages));
  }
  return part;
}

}  // namespace

bool ReadsOn(const Mapping& last, const Mapping& next) {
  if (last.source != next.source || last.end_pages() != next.offset_pages) return false;
  return last.source == kZeroSource || last.storage_end_pages() == next.storage_pages;
}

void AppendMapping(std::vector<Mapping>& mappings, const Mapping& next) {
  if (next.length_pages == 0) return;
  if (!mappings.empty() && ReadsOn(mappings.back(), next)) {
    mappings.back().length_pages += next.length_pages;
  } else {
    mappings.push_back(next);
  }
}

std::vector<Mapping> MergeMappings(std::span<const Mapping> base, std::span<const Mapping> diff) {
  std::vector<Mapping> merged;
  merged.reserve(base.size() + diff.size());
  auto next = diff.begin();
  for (const Mapping& mapping : base) {
    uint64_t position = mapping.offset_pages;
    // A diff run that began in an earlier mapping may reach into this one.
    if (!merged.empty()) position = std::max(position, merged.back().end_pages());
    while (position < mapping.end_pages()) {
      const bool covered = next != diff.end() && next->offset_pages == position;
      if (covered) {
        AppendMapping(merged, *next);
        position = next->end_pages();
        ++next;
        continue;
      }
      const uint64_t end =
          next == diff.end() ? mapping.end_pages() : std::min<uint64_t>(mapping.end_pages(), next->offset_pages);
      AppendMapping(merged, Slice(mapping, position, end));
      position = end;
    }
  }
  return merged;
}

std::vector<Mapping> ResizeMappings(std::span<const Mapping> base, uint64_t page_count) {
  std::vector<Mapping> resized;
  resized.reserve(base.size() + 1);
  uint64_t end = 0;
  for (const Mapping& mapping : base) {
    if (mapping.offset_pages >= page_count) break;
    end = std::min(mapping.end_pages(), page_count);
    resized.push_back(Slice(mapping, mapping.offset_pages, end));
  }
  if (end < page_count) {
    AppendMapping(resized, Mapping{.offset_pages = static_cast<uint32_t>(end),
                                   .length_pages = static_cast<uint32_t>(page_count - end)});
  }
  return resized;
}

}  // namespace rootloom
