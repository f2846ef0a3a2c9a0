// ForEachPart: splits a byte range at the multiples of a unit.
#pragma once

#include <algorithm>

#include "native/block/device.h"

namespace rootloom {

// Calls part(Range) for each piece of range that lies between two multiples of unit_bytes, in order, and stops at the
// first failure, which it returns.
template <typename Part>
Status ForEachPart(Range range, uint64_t unit_bytes, const Part& part) {
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes();) {
    const uint64_t length = std::min(unit_bytes - offset % unit_bytes, range.end_bytes() - offset);
    ROOTLOOM_RETURN_IF_ERROR(part(Range{offset, length}));
    offset += length;
  }
  return Status::Ok();
}

// The whole blocks inside range; a last block that the device's end cuts short counts as whole. May be empty.
inline Range WholeBlocks(Range range, uint32_t block_size, uint64_t device_size_bytes) {
  const uint64_t first = (range.offset_bytes + block_size - 1) / block_size * block_size;
  const uint64_t end =
      range.end_bytes() == device_size_bytes ? range.end_bytes() : range.end_bytes() / block_size * block_size;
  return {first, first < end ? end - first : 0};
}

}  // namespace rootloom
