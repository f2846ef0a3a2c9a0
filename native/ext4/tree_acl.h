// POSIX ACLs, in the two forms that they have: that of Linux' system.posix_acl_* attributes, and that on ext4.
//
// libext2fs converts between them too, but gives entries without an id the id 0, where Linux has 0xffffffff.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "native/util/status.h"

namespace rootloom {

enum class AclTag : uint16_t {
  kOwner = 0x01,
  kUser = 0x02,
  kOwningGroup = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};

struct AclEntry {
  AclTag tag = AclTag::kOther;
  uint16_t permissions = 0;  // r 4, w 2, x 1
  uint32_t id = 0;           // with kUser and kGroup
};

class Acl {
 public:
  // Puts the entries in their order.
  explicit Acl(std::vector<AclEntry> entries);

  // Fail with kInvalidArgument and with kCorrupt for what is no ACL.
  static Result<Acl> FromLinuxForm(std::string_view value);
  static Result<Acl> FromDiskForm(std::string_view value);
  std::string ToLinuxForm() const;
  std::string ToDiskForm() const;

  // The nine bits of a file's mode that go with this ACL; the group's are those of the mask when there is one.
  uint32_t Permissions() const;
  // Changes the entries that those bits stand for.
  void SetPermissions(uint32_t permissions);
  // It says no more than the nine bits do.
  bool IsMinimal() const { return entries_.size() <= 3; }

 private:
  AclEntry* Find(AclTag tag);
  const AclEntry* Find(AclTag tag) const { return const_cast<Acl*>(this)->Find(tag); }

  std::vector<AclEntry> entries_;
};

}  // namespace rootloom
