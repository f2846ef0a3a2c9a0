// The blocks of a directory, built anew from its entries.
//
// A directory that fits into one block is a list. A larger one is a tree over hashes of names: block 0 holds "." and
// ".." and the root, then come the inner nodes, then the leaves, which hold the entries in order of hash. Leaves are
// filled to four fifths, so that names added by a kernel do not split every one of them. The same entries give the
// same bytes, in whatever order they were added.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "native/ext4/filesystem.h"

namespace rootloom {

struct DirectoryEntry {
  std::string name;
  ext2_ino_t inode = 0;
  uint8_t type = EXT2_FT_UNKNOWN;
};

// Whose blocks are built.
struct DirectoryIdentity {
  ext2_ino_t directory = 0;
  ext2_ino_t parent = 0;
  bool ignores_case = false;  // its names are found without regard to case (casefold)
};

struct DirectoryBlocks {
  std::vector<std::byte> bytes;  // whole blocks, without their checksums
  bool indexed = false;
};

// entries are those besides "." and "..", in any order, each name once.
// Fails with kNoSpace when the directory would be larger than an index of the filesystem's features can be, and with
// kCancelled soon after the filesystem's stop token is triggered.
Result<DirectoryBlocks> BuildDirectoryBlocks(Filesystem& filesystem, const DirectoryIdentity& identity,
                                             std::vector<DirectoryEntry> entries);

}  // namespace rootloom
