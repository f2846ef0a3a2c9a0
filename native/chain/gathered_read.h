// GatheredRead: one read of a chain, put together from as few reads of its diffs as possible.
//
// Where two builds take turns on the device, each one's blocks still lie side by side in its diff, for a diff is packed
// in the device's order. So the parts of a read are gathered by diff, and each row of parts is one preadv. A gap of a
// few pages in a row, where another build has written over a block, is read along and thrown away: that costs less
// than a system call. (Not in compressed diffs, which are read from the frame cache.)
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/chain/diff.h"
#include "native/util/status.h"

namespace rootloom {

// Lives on the stack of one read. What was added is filled in when Finish has returned success.
class GatheredRead {
 public:
  // Reads stored bytes of diff into part, now or later. Parts come in the device's order. Failures may be those of
  // parts that were added earlier.
  Status Add(Diff& diff, uint64_t stored_offset_bytes, std::span<std::byte> part);
  Status Finish();

 private:
  static constexpr size_t kMaxRows = 4;
  static constexpr size_t kMaxParts = 64;  // the kernel takes these without allocating; a gap counts as one
  static constexpr uint64_t kMaxGapBytes = 16 << 10;

  struct Row {
    Diff* diff = nullptr;  // null: not in use
    uint64_t begin_bytes;
    uint64_t end_bytes;
    size_t part_count;
    iovec parts[kMaxParts];
  };

  bool Extends(const Row& row, const Diff& diff, uint64_t stored_offset_bytes) const;
  void Append(Row& row, void* target, uint64_t length_bytes);
  Status Submit(Row& row);

  std::array<Row, kMaxRows> rows_;
  size_t next_row_ = 0;  // the one that is given up when another diff needs it
  std::byte gap_[kMaxGapBytes];
};

}  // namespace rootloom
