// Extended attributes of a rebuilt filesystem.
//
// Attributes inside an inode, and a block of them, do not say whose they are: they are taken over as they lie, and
// inodes that shared a block share one again. What lies in another form (inodes of another size, values in inodes of
// their own, beside content inside the inode) is read and set by libext2fs afterwards.
#pragma once

#include <map>
#include <vector>

#include "native/ext4/rebuild/new_inode.h"
#include "native/ext4/rebuild/space.h"
#include "native/ext4/rebuild/survey.h"
#include "native/util/call_context.h"

namespace rootloom {

// Not thread-safe. What it is made with must outlive it.
class AttributeCopy {
 public:
  AttributeCopy(Filesystem& source, Filesystem& target) : source_(source), target_(target) {}

  // Gives inode, which began as a copy of from, the attributes of from, or notes that this is left to SetOthers.
  Status Take(const ScannedInode& from, NewInode& inode, Space& space);

  // Writes the blocks that Take gave places.
  Status WriteBlocks(const CallContext& context);
  // Sets what Take has left. REQUIRES: all inodes are on the device, and all blocks taken are marked as used
  Status SetOthers(const CallContext& context);

 private:
  struct SharedBlock {
    uint64_t target_block = 0;
    uint32_t inode_count = 0;
  };
  struct Other {
    ext2_ino_t source = 0;
    ext2_ino_t target = 0;
  };

  // Whether the attributes of from are in a form that can be taken over as they lie.
  Result<bool> CanTakeOver(const ScannedInode& from);
  Result<std::vector<std::byte>> ReadBlock(uint64_t block, ext2_ino_t owner);
  Status SetAll(const Other& other);
  Status ChargeInodes(ext2_ino_t number);

  Filesystem& source_;
  Filesystem& target_;
  std::map<uint64_t, SharedBlock> blocks_;  // by the source's block; 0: it cannot be taken over
  std::vector<Other> others_;
};

}  // namespace rootloom
