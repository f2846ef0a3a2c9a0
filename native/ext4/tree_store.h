// The stores of one open filesystem, which everything above them shares.
#pragma once

#include "native/ext4/tree_blocks.h"
#include "native/ext4/tree_directory.h"
#include "native/ext4/tree_inode.h"
#include "native/ext4/tree_xattr.h"

namespace rootloom {

// Not thread-safe: Ext4Tree lets one call in at a time. filesystem must outlive it.
struct TreeStore {
  TreeStore(Filesystem& filesystem_in, TreeClock clock)
      : filesystem(filesystem_in),
        inodes(filesystem, clock),
        blocks(filesystem),
        directories(filesystem, inodes, blocks),
        xattrs(filesystem, inodes, blocks) {}
  TreeStore(const TreeStore&) = delete;
  TreeStore& operator=(const TreeStore&) = delete;

  Filesystem& filesystem;
  InodeStore inodes;
  BlockStore blocks;
  DirectoryStore directories;
  XattrStore xattrs;
};

}  // namespace rootloom
