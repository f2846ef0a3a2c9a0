// Inodes: reading, writing, making and freeing them, and what their fields mean.
#pragma once

#include "native/ext4/filesystem.h"
#include "native/ext4/tree_types.h"

namespace rootloom {

// One inode in memory. Extended attributes behind the fixed fields are not part of it, but its block of attributes is:
// a copy is outdated after SetXattrs on the same inode.
struct Inode {
  ext2_ino_t number = 0;
  ext2_inode_large raw = {};

  // What libext2fs takes.
  ext2_inode* base() { return reinterpret_cast<ext2_inode*>(&raw); }
  const ext2_inode* base() const { return reinterpret_cast<const ext2_inode*>(&raw); }

  FileType type() const;
  bool is_directory() const { return LINUX_S_ISDIR(raw.i_mode); }
  uint64_t size_bytes() const { return EXT2_I_SIZE(base()); }

  void SetPermissions(uint32_t permissions);
  void SetOwner(uint32_t uid, uint32_t gid);
  uint32_t uid() const { return inode_uid(raw); }
  uint32_t gid() const { return inode_gid(raw); }
  void SetAccessTime(Timestamp time);
  void SetModifyTime(Timestamp time);
  void SetChangeTime(Timestamp time);
  void SetBirthTime(Timestamp time);
};

// The file type that a directory entry and an inode's mode carry.
uint8_t DirectoryEntryType(FileType type);
uint16_t ModeOf(FileType type, uint32_t permissions);

// Gives the time that changes are stamped with: one that is fixed, for equal bytes from equal inputs, or the clock's.
class TreeClock {
 public:
  explicit TreeClock(std::optional<Timestamp> fixed) : fixed_(fixed) {}
  Timestamp Now() const;

 private:
  std::optional<Timestamp> fixed_;
};

// Not thread-safe. filesystem must outlive it.
class InodeStore {
 public:
  InodeStore(Filesystem& filesystem, TreeClock clock) : filesystem_(filesystem), clock_(clock) {}

  // Fails with kCorrupt for a number that no inode has and for an inode that is not in use.
  Result<Inode> Load(ext2_ino_t number);
  // Writes the fields; what lies behind them (attributes in the inode) stays.
  Status Save(Inode& inode);
  // Save, with the time of change set to now.
  Status SaveChanged(Inode& inode);

  // Takes a free inode near that of directory, and fills in what attributes say; its link count is 1, or 2 for a
  // directory. Nothing is written yet: SaveNew does. Fails with kNoSpace when all inodes are in use.
  Result<Inode> Allocate(ext2_ino_t directory, FileType type, const Attributes& attributes);
  // Writes a new inode, with nothing behind its fields.
  Status SaveNew(const Inode& inode);
  // Makes the inode free and all zero. Its blocks must have been freed before.
  Status Free(const Inode& inode);

  FileStat StatOf(const Inode& inode) const;
  const TreeClock& clock() const { return clock_; }

 private:
  size_t field_bytes() const;

  Filesystem& filesystem_;
  const TreeClock clock_;
};

}  // namespace rootloom
