// How much room a filesystem leaves to its user, and how large it must be to leave so much.
//
// What an added block group takes for itself is known: its bitmaps and inode table, and where it has them, its copies
// of the superblock, the descriptors and the blocks reserved for more of those. What the content takes is what is used
// now and not by groups; it does not depend on the size. So the room at any size can be computed, and the smallest size
// with enough room be found, without trying. Only a growth or a shrink that has to move metadata or to split extents
// may leave a few blocks less than computed: whoever guarantees room looks again when it is done.
//
// More size is not always more room: a new group begins with what it takes for itself, and where every group has a copy
// of all descriptors, there is a size from which on the copies take more than is added. Within one group it is, but for
// rounding; so the groups are gone through from below, and the first whose end has enough holds the answer.
#pragma once

#include <cstdint>
#include <memory>

#include "native/block/device.h"
#include "native/ext4/ext2fs.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// What a user without privileges can write to fs, mounted, if it had so many blocks and so many of them free: without
// the share that is reserved for root, and without what the kernel keeps for metadata of data that is on its way, which
// is one block in 50, at most 4096 of them.
uint64_t AvailableBytes(ext2_filsys fs, uint64_t block_count, uint64_t free_blocks);

struct FreeSpaceRequest {
  uint64_t available_bytes = 0;
  uint64_t smallest_bytes = 0;  // what the filesystem must have, unless it cannot be so large
  uint64_t largest_bytes = 0;   // what it may have
};

// The smallest size of the filesystem on device, a multiple of 4096, at which so much is available. It may be smaller
// than the content allows, or than the filesystem is now. Fails with kNoSpace, and the most that can be had, when no
// size has it; as Resize does for a filesystem that cannot be resized.
Result<uint64_t> SizeForFreeSpace(std::shared_ptr<Device> device, const FreeSpaceRequest& request,
                                  const CallContext& context);

}  // namespace rootloom
