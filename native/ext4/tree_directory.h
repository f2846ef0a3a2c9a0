// Directories in memory: names are found, added and removed there, and a changed directory is written as a whole.
//
// libext2fs adds a name by reading the directory from its start. Here a directory is read once, changed in a hash
// table, and written on Flush by BuildDirectoryBlocks; blocks that did not change are not written. Until Flush the
// device holds the old directory, or none.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "native/ext4/tree_blocks.h"
#include "native/ext4/tree_directory_blocks.h"
#include "native/ext4/tree_inode.h"

namespace rootloom {

// Not thread-safe. What it is made with must outlive it. Names are bytes; "." and ".." are not among them.
class DirectoryStore {
 public:
  DirectoryStore(Filesystem& filesystem, InodeStore& inodes, BlockStore& blocks)
      : filesystem_(filesystem), inodes_(inodes), blocks_(blocks) {}

  // The inode that name leads to, or nothing. Fails with kInvalidArgument (ENOTDIR) when directory is none.
  Result<std::optional<ext2_ino_t>> Find(ext2_ino_t directory, std::string_view name);
  // Like Find, with the file's type when the directory knows it.
  Result<std::optional<DirectoryEntry>> FindEntry(ext2_ino_t directory, std::string_view name);
  // All entries, sorted by the bytes of their names.
  Result<std::vector<DirectoryEntry>> List(ext2_ino_t directory);
  Result<bool> IsEmpty(ext2_ino_t directory);
  Result<ext2_ino_t> ParentOf(ext2_ino_t directory);

  // Adds an entry, or gives the entry of that name another inode. Fails with kInvalidArgument (ENAMETOOLONG) for a name
  // over 255 bytes, and for one that no file can have.
  Status Put(ext2_ino_t directory, DirectoryEntry entry);
  Status Erase(ext2_ino_t directory, std::string_view name);
  Status SetParent(ext2_ino_t directory, ext2_ino_t parent);
  // Begins a directory that was just made.
  void AddEmpty(ext2_ino_t directory, ext2_ino_t parent);
  // Forgets a directory that was freed.
  void Forget(ext2_ino_t directory);

  // Writes every changed directory, in order of inode.
  Status Flush();
  // Frees memory when many names are held; changed directories are written for it.
  Status Shrink();

 private:
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  struct Target {
    ext2_ino_t inode = 0;
    uint8_t type = EXT2_FT_UNKNOWN;
  };
  struct Directory {
    ext2_ino_t parent = 0;
    bool changed = false;
    std::unordered_map<std::string, Target, NameHash, std::equal_to<>> names;
  };

  Result<Directory*> Get(ext2_ino_t number);
  Status Read(ext2_ino_t number, Directory& directory);
  Status Write(ext2_ino_t number, const Directory& directory);
  Status WriteBlocks(Inode& inode, const DirectoryBlocks& blocks);

  // About 100 bytes each.
  static constexpr size_t kMaxNamesInMemory = 400'000;

  Filesystem& filesystem_;
  InodeStore& inodes_;
  BlockStore& blocks_;
  std::unordered_map<ext2_ino_t, std::unique_ptr<Directory>> directories_;
  size_t name_count_ = 0;
};

}  // namespace rootloom
