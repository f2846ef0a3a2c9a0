#include "native/ext4/layer_acl.h"

#include <archive.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>

namespace rootloom {

namespace {

// The attribute: a version, then entries of tag, permissions and id, in order of tag and id; all little-endian.
constexpr uint32_t kVersion = 2;
constexpr uint32_t kNoId = 0xffffffff;
constexpr size_t kEntriesSayingTheMode = 3;

enum AclTag : uint16_t { kUserObj = 0x01, kUser = 0x02, kGroupObj = 0x04, kGroup = 0x08, kMask = 0x10, kOther = 0x20 };

struct AclEntry {
  uint16_t tag = 0;
  uint16_t permissions = 0;
  uint32_t id = kNoId;
};

uint16_t TagOf(int archive_tag) {
  switch (archive_tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
      return kUserObj;
    case ARCHIVE_ENTRY_ACL_USER:
      return kUser;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
      return kGroupObj;
    case ARCHIVE_ENTRY_ACL_GROUP:
      return kGroup;
    case ARCHIVE_ENTRY_ACL_MASK:
      return kMask;
    case ARCHIVE_ENTRY_ACL_OTHER:
      return kOther;
    default:
      return 0;
  }
}

template <typename Number>
void Append(std::string& bytes, Number number) {
  for (size_t i = 0; i < sizeof number; ++i) bytes.push_back(static_cast<char>(number >> (8 * i)));
}

Result<std::vector<AclEntry>> ReadAcl(archive_entry* entry, int type) {
  std::vector<AclEntry> acl;
  archive_entry_acl_reset(entry, type);
  int entry_type = 0;
  int permissions = 0;
  int archive_tag = 0;
  int id = 0;
  const char* name = nullptr;
  while (archive_entry_acl_next(entry, type, &entry_type, &permissions, &archive_tag, &id, &name) == ARCHIVE_OK) {
    const uint16_t tag = TagOf(archive_tag);
    if (tag == 0) return Status::Unsupported("read an ACL", "it is not a POSIX ACL");
    const bool named = tag == kUser || tag == kGroup;
    if (named && id < 0) {
      return Status::Unsupported("read an ACL", "it names \"" + std::string(name == nullptr ? "" : name) +
                                                    "\" without a number, archive with numeric owners");
    }
    // libarchive's bits are those of Linux.
    acl.push_back({.tag = tag,
                   .permissions = static_cast<uint16_t>(permissions & 7),
                   .id = named ? static_cast<uint32_t>(id) : kNoId});
  }
  std::sort(acl.begin(), acl.end(),
            [](const AclEntry& a, const AclEntry& b) { return std::tie(a.tag, a.id) < std::tie(b.tag, b.id); });
  return acl;
}

std::string Encode(const std::vector<AclEntry>& acl) {
  std::string bytes;
  Append(bytes, kVersion);
  for (const AclEntry& entry : acl) {
    Append(bytes, entry.tag);
    Append(bytes, entry.permissions);
    Append(bytes, entry.id);
  }
  return bytes;
}

Status AppendAcl(archive_entry* entry, int type, const char* name, size_t min_count, std::vector<Xattr>& attributes) {
  if ((archive_entry_acl_types(entry) & type) == 0) return Status::Ok();
  if (std::any_of(attributes.begin(), attributes.end(), [name](const Xattr& xattr) { return xattr.name == name; })) {
    return Status::Ok();
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<AclEntry> acl, ReadAcl(entry, type));
  if (acl.size() >= min_count) attributes.push_back({name, Encode(acl)});
  return Status::Ok();
}

}  // namespace

Status AppendAcls(archive_entry* entry, std::vector<Xattr>& attributes) {
  ROOTLOOM_RETURN_IF_ERROR(AppendAcl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access",
                                     kEntriesSayingTheMode + 1, attributes));
  return AppendAcl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", 1, attributes);
}

}  // namespace rootloom
