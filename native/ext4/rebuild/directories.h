// Directories of a rebuilt filesystem: the same names, with their new inodes, in blocks built anew.
#pragma once

#include <string>
#include <vector>

#include "native/ext4/rebuild/block_writer.h"
#include "native/ext4/rebuild/new_inode.h"
#include "native/ext4/rebuild/space.h"
#include "native/ext4/rebuild/survey.h"
#include "native/ext4/tree_directory_blocks.h"

namespace rootloom {

struct NamedEntries {
  ext2_ino_t parent = 0;
  std::vector<DirectoryEntry> entries;  // without "." and ".."
};

// What a directory of source holds. Fails with kCorrupt when it cannot be read.
Result<NamedEntries> ReadEntries(Filesystem& source, ext2_ino_t directory);

// An upper bound of the blocks that BuildDirectoryBlocks makes of entries in a filesystem of our profile.
uint64_t MostDirectoryBlocks(const std::vector<DirectoryEntry>& entries);

// Not thread-safe. What it is made with must outlive it.
class DirectoryCopy {
 public:
  DirectoryCopy(Filesystem& source, Filesystem& target, const Survey& survey)
      : source_(source), target_(target), survey_(survey) {}

  // Gives inode, which began as a copy of a directory's, that directory's entries: takes blocks, puts them into
  // writer, and sets size, flags and block count. Fails with kCorrupt when an entry leads to what is no file.
  // REQUIRES: inode is in progress
  Status Build(ext2_ino_t from, NewInode& inode, Space& space, BlockWriter& writer);

 private:
  Result<NamedEntries> Translate(ext2_ino_t from);
  Status PadLostAndFound(DirectoryBlocks& blocks);

  Filesystem& source_;
  Filesystem& target_;
  const Survey& survey_;
};

}  // namespace rootloom
