// A walk through the inode tables.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "native/ext4/filesystem.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// One inode in use, as it lies in its table: its fields, and what follows them.
struct ScannedInode {
  ext2_ino_t number = 0;
  std::span<const std::byte> raw;  // valid during the visit; as long as the filesystem's inodes

  const ext2_inode_large& fields() const { return *reinterpret_cast<const ext2_inode_large*>(raw.data()); }
  // It keeps the value of an attribute, and is no file.
  bool is_attribute() const { return (fields().i_flags & EXT4_EA_INODE_FL) != 0; }
};

// Visits every file in order of number, in bounded memory: what has a name, or keeps the value of an attribute. The
// filesystem's own inodes are left out: journal, quota, orphans, tables.
Status ForEachInode(Filesystem& filesystem, const CallContext& context,
                    const std::function<Status(const ScannedInode&)>& visit);

}  // namespace rootloom
