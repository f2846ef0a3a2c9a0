// The extent tree of a file, built at once from all of its runs.
//
// Up to four extents lie in the inode. More are packed into full blocks, below as few index blocks as can hold them.
#pragma once

#include <vector>

#include "native/ext4/rebuild/block_writer.h"
#include "native/ext4/rebuild/new_inode.h"
#include "native/ext4/rebuild/space.h"
#include "native/ext4/tree_blocks.h"

namespace rootloom {

// Makes runs the content of inode, and adds their blocks and the tree's to its count. Each run is what one extent can
// name; they are ascending. REQUIRES: inode is in progress
Status BuildExtentTree(Filesystem& filesystem, NewInode& inode, const std::vector<FileRun>& runs, Space& space,
                       BlockWriter& writer);

// The blocks of the tree over so many extents.
uint64_t ExtentTreeBlocks(uint64_t extent_count);

}  // namespace rootloom
