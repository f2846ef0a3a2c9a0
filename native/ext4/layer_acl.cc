#include "native/ext4/layer_acl.h"

#include <archive.h>

#include <algorithm>
#include <optional>
#include <string>

#include "native/ext4/tree_acl.h"

namespace rootloom {

namespace {

std::optional<AclTag> TagOf(int archive_tag) {
  switch (archive_tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
      return AclTag::kOwner;
    case ARCHIVE_ENTRY_ACL_USER:
      return AclTag::kUser;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
      return AclTag::kOwningGroup;
    case ARCHIVE_ENTRY_ACL_GROUP:
      return AclTag::kGroup;
    case ARCHIVE_ENTRY_ACL_MASK:
      return AclTag::kMask;
    case ARCHIVE_ENTRY_ACL_OTHER:
      return AclTag::kOther;
    default:
      return std::nullopt;
  }
}

Result<Acl> ReadAcl(archive_entry* entry, int type) {
  std::vector<AclEntry> entries;
  archive_entry_acl_reset(entry, type);
  int entry_type = 0;
  int permissions = 0;
  int archive_tag = 0;
  int id = 0;
  const char* name = nullptr;
  while (archive_entry_acl_next(entry, type, &entry_type, &permissions, &archive_tag, &id, &name) == ARCHIVE_OK) {
    const std::optional<AclTag> tag = TagOf(archive_tag);
    if (!tag.has_value()) return Status::Unsupported("read an ACL", "it is not a POSIX ACL");
    if ((*tag == AclTag::kUser || *tag == AclTag::kGroup) && id < 0) {
      return Status::Unsupported("read an ACL", "it names \"" + std::string(name == nullptr ? "" : name) +
                                                    "\" without a number, archive with numeric owners");
    }
    // libarchive's bits are those of Linux.
    entries.push_back(
        {.tag = *tag, .permissions = static_cast<uint16_t>(permissions & 7), .id = static_cast<uint32_t>(id)});
  }
  return Acl(std::move(entries));
}

Status AppendAcl(archive_entry* entry, int type, const char* name, std::vector<Xattr>& attributes) {
  if ((archive_entry_acl_types(entry) & type) == 0) return Status::Ok();
  if (std::any_of(attributes.begin(), attributes.end(), [name](const Xattr& xattr) { return xattr.name == name; })) {
    return Status::Ok();
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const Acl acl, ReadAcl(entry, type));
  attributes.push_back({name, acl.ToLinuxForm()});
  return Status::Ok();
}

}  // namespace

Status AppendAcls(archive_entry* entry, std::vector<Xattr>& attributes) {
  ROOTLOOM_RETURN_IF_ERROR(AppendAcl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", attributes));
  return AppendAcl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", attributes);
}

}  // namespace rootloom
