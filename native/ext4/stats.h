// What an ext4 filesystem says of itself: sizes, free space, and whether it is clean. Reads the superblock and the
// group descriptors, and nothing else.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/ext4/ext2fs.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

struct Ext4Stats {
  uint64_t size_bytes = 0;  // of the filesystem; the device may be larger
  uint32_t block_size = 0;
  uint64_t free_bytes = 0;      // what a user without privileges can still write: free blocks without the reserved ones
  uint64_t reserved_bytes = 0;  // kept for root
  // What of the free bytes a mounted filesystem lets such a user write: the kernel keeps some back. As df tells it.
  uint64_t available_bytes = 0;
  uint64_t used_bytes = 0;  // everything that is not free: content, inode tables, journal
  uint32_t inode_count = 0;
  uint32_t free_inode_count = 0;
  uint64_t max_grown_bytes = 0;  // up to here it grows without moving any metadata
  std::array<uint8_t, 16> uuid{};
  std::string label;
  std::vector<std::string> features;  // as dumpe2fs names them

  bool needs_recovery = false;  // the journal holds changes that are not in the filesystem yet
  bool has_errors = false;      // the kernel or a checker found it broken
  bool has_orphans = false;     // deleted or truncated files whose space is not given back yet
  // Nothing of the above, unmounted properly, every checksum of superblock and group descriptors right, and the
  // superblock's free counts equal to the sums of the groups'. Then not_clean_reason is empty.
  bool clean = false;
  std::string not_clean_reason;

  // In seconds since 1970; 0: never.
  int64_t created_time = 0;
  int64_t mounted_time = 0;
  int64_t written_time = 0;
  int64_t checked_time = 0;
};

// Free counts are the groups', not the superblock's, which is stale after an unclean stop.
Result<Ext4Stats> ReadStats(std::shared_ptr<Device> device, const CallContext& context);

// Sets the superblock's free counts to the sums of the groups' in memory.
void RefreshFreeCounts(ext2_filsys fs);

// How many blocks the filesystem can have before the group descriptors outgrow what is reserved for them.
uint64_t MaxGrownBlocks(ext2_filsys fs);

}  // namespace rootloom
