// Extended attributes of one inode, in the inode or in a block of their own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "native/ext4/tree_acl.h"
#include "native/ext4/tree_blocks.h"
#include "native/ext4/tree_inode.h"

namespace rootloom {

// True for the names that Linux keeps on ext4: user.*, trusted.*, security.*, system.posix_acl_access and
// system.posix_acl_default, of at most 255 bytes without the prefix.
bool IsStorableXattrName(std::string_view name);

// Every call reads the inode anew and may write it: copies of it that a caller holds are outdated afterwards.
// Not thread-safe. What it is made with must outlive it.
class XattrStore {
 public:
  XattrStore(Filesystem& filesystem, InodeStore& inodes, BlockStore& blocks)
      : filesystem_(filesystem), inodes_(inodes), blocks_(blocks) {}

  // All attributes, sorted by name. ACLs have the form that Linux gives them, not that on disk.
  Result<std::vector<Xattr>> List(ext2_ino_t number);

  // Sets one. As with Linux, an access ACL sets the nine bits of the mode, and is not stored when it says no more than
  // they do. Fails with kUnsupported for a name that is not storable and for attributes that need more room than the
  // inode and one block, with kInvalidArgument for an ACL that is none.
  Status Set(ext2_ino_t number, const Xattr& attribute);
  // Adapts an access ACL, when there is one, to a mode that was changed.
  Status AdaptAcl(ext2_ino_t number, uint32_t permissions);
  // Removes one; kNotFound (ENODATA) when there is none.
  Status Remove(ext2_ino_t number, std::string_view name);
  // Removes all, and frees their block.
  Status Clear(ext2_ino_t number);

 private:
  Result<std::optional<Acl>> AccessAcl(ext2_ino_t number);
  Status SetAccessAcl(ext2_ino_t number, const Acl& acl);
  Status SetRaw(ext2_ino_t number, const std::string& name, const std::string& value);
  Status FreeBlock(ext2_ino_t number);

  Filesystem& filesystem_;
  InodeStore& inodes_;
  BlockStore& blocks_;
};

}  // namespace rootloom
