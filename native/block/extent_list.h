// ExtentList: collects extents the way Device::Extents promises them.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "native/block/device.h"

namespace rootloom {

// Extents are added in ascending order without gaps; neighbours of one kind are joined.
class ExtentList {
 public:
  // REQUIRES: max_count > 0
  explicit ExtentList(size_t max_count) : max_count_(max_count) {}

  // Returns false, and adds nothing, when there is no room for one more. An empty extent is left out.
  bool Add(const Extent& extent) {
    if (extent.range.length_bytes == 0) return true;
    if (!extents_.empty() && extents_.back().kind == extent.kind) {
      extents_.back().range.length_bytes += extent.range.length_bytes;
      return true;
    }
    if (extents_.size() == max_count_) return false;
    extents_.push_back(extent);
    return true;
  }

  std::vector<Extent> Take() && { return std::move(extents_); }

 private:
  const size_t max_count_;
  std::vector<Extent> extents_;
};

}  // namespace rootloom
