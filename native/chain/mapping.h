// Mapping: where one range of a device's pages is stored. What headers, indexes and seals all work on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rootloom {

// The unit of all mappings, whatever the header's block size is.
inline constexpr uint32_t kPageBytes = 4096;
// Mapping::source of a range that reads as zeros.
inline constexpr uint16_t kZeroSource = 0xFFFF;
inline constexpr size_t kMaxSources = 0xFFFF;
inline constexpr uint64_t kMaxPages = 0xFFFFFFFF;

inline constexpr uint64_t PagesFor(uint64_t size_bytes) {
  return size_bytes / kPageBytes + (size_bytes % kPageBytes != 0 ? 1 : 0);
}

struct Mapping {
  uint32_t offset_pages = 0;      // on the device
  uint32_t length_pages = 0;      // at least 1
  uint32_t storage_pages = 0;     // in the source's diff; 0 for zeros
  uint16_t source = kZeroSource;  // index into Header::sources

  uint64_t end_pages() const { return uint64_t{offset_pages} + length_pages; }
  uint64_t storage_end_pages() const { return uint64_t{storage_pages} + length_pages; }
  bool operator==(const Mapping&) const = default;
};

// True when next starts where last ends, on the device and in the same diff; zeros need no second.
bool ReadsOn(const Mapping& last, const Mapping& next);

// Adds next at the end, as part of the last mapping when it reads on from it. An empty one adds nothing.
void AppendMapping(std::vector<Mapping>& mappings, const Mapping& next);

// Lays diff over base: where both have a page, diff has the say. Both are in order and without overlap, name their
// builds by the same source indexes, and base is contiguous from 0 and ends no earlier than diff. Neighbours that read
// on are joined. Linear time.
std::vector<Mapping> MergeMappings(std::span<const Mapping> base, std::span<const Mapping> diff);

// base, which is contiguous from 0, cut to page_count pages, or grown to them with zeros.
std::vector<Mapping> ResizeMappings(std::span<const Mapping> base, uint64_t page_count);

}  // namespace rootloom
