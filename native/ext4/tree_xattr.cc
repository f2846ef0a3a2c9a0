#include "native/ext4/tree_xattr.h"

#include <cerrno>

namespace rootloom {

namespace {

constexpr std::string_view kAccessAcl = "system.posix_acl_access";
constexpr std::string_view kDefaultAcl = "system.posix_acl_default";
// Where ext4 keeps content that lies in the inode; not an attribute for anyone above.
constexpr std::string_view kInlineData = "system.data";
constexpr std::string_view kPrefixes[] = {"user.", "trusted.", "security."};

bool IsAcl(std::string_view name) { return name == kAccessAcl || name == kDefaultAcl; }

// The attributes of one inode, read from it.
class XattrHandle {
 public:
  explicit XattrHandle(Filesystem& filesystem) : filesystem_(filesystem) {}
  ~XattrHandle() {
    if (handle_ != nullptr) ext2fs_xattrs_close(&handle_);
  }
  XattrHandle(const XattrHandle&) = delete;
  XattrHandle& operator=(const XattrHandle&) = delete;

  Status Open(ext2_ino_t number) {
    ROOTLOOM_RETURN_IF_ERROR(
        filesystem_.Check(ext2fs_xattrs_open(filesystem_.raw(), number, &handle_), "read the attributes of"));
    unsigned raw = XATTR_HANDLE_FLAG_RAW;
    ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(ext2fs_xattrs_flags(handle_, &raw, nullptr), "read the attributes of"));
    return filesystem_.Check(ext2fs_xattrs_read(handle_), "read the attributes of");
  }

  ext2_xattr_handle* get() { return handle_; }

  size_t count() {
    size_t count = 0;
    ext2fs_xattrs_count(handle_, &count);
    return count;
  }

  Result<std::string> Value(const std::string& name) {
    void* value = nullptr;
    size_t length = 0;
    ROOTLOOM_RETURN_IF_ERROR(
        filesystem_.Check(ext2fs_xattr_get(handle_, name.c_str(), &value, &length), "read the attribute", name));
    std::string text(static_cast<const char*>(value), length);
    ext2fs_free_mem(&value);
    return text;
  }

 private:
  Filesystem& filesystem_;
  ext2_xattr_handle* handle_ = nullptr;
};

int CollectName(char* name, char*, size_t, void* names) {
  static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}

}  // namespace

bool IsStorableXattrName(std::string_view name) {
  if (name.find('\0') != name.npos) return false;
  if (IsAcl(name)) return true;
  for (const std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return name.size() > prefix.size() && name.size() - prefix.size() <= kMaxNameBytes;
  }
  return false;
}

Result<std::vector<Xattr>> XattrStore::List(ext2_ino_t number) {
  XattrHandle handle(filesystem_);
  ROOTLOOM_RETURN_IF_ERROR(handle.Open(number));
  std::vector<std::string> names;
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_xattrs_iterate(handle.get(), CollectName, &names), "read the attributes of"));
  std::sort(names.begin(), names.end());
  std::vector<Xattr> attributes;
  for (const std::string& name : names) {
    if (name == kInlineData) continue;
    ROOTLOOM_ASSIGN_OR_RETURN(std::string value, handle.Value(name));
    if (IsAcl(name)) {
      ROOTLOOM_ASSIGN_OR_RETURN(const Acl acl, Acl::FromDiskForm(value));
      value = acl.ToLinuxForm();
    }
    attributes.push_back({name, std::move(value)});
  }
  return attributes;
}

Status XattrStore::Set(ext2_ino_t number, const Xattr& attribute) {
  if (!IsStorableXattrName(attribute.name)) {
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = "set the attribute",
                   .detail =
                       "ext4 keeps user., trusted., security. attributes and POSIX ACLs, with names of at most "
                       "255 bytes",
                   .path = attribute.name,
                   .error_number = EOPNOTSUPP};
  }
  if (!IsAcl(attribute.name)) return SetRaw(number, attribute.name, attribute.value);
  ROOTLOOM_ASSIGN_OR_RETURN(const Acl acl, Acl::FromLinuxForm(attribute.value));
  if (attribute.name == kAccessAcl) return SetAccessAcl(number, acl);
  return SetRaw(number, attribute.name, acl.ToDiskForm());
}

Status XattrStore::SetRaw(ext2_ino_t number, const std::string& name, const std::string& value) {
  XattrHandle handle(filesystem_);
  ROOTLOOM_RETURN_IF_ERROR(handle.Open(number));
  const errcode_t code = ext2fs_xattr_set(handle.get(), name.c_str(), value.data(), value.size());
  if (code == EXT2_ET_EA_NO_SPACE) {
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = "set the attribute",
                   .detail = "the file's attributes would need more room than its inode and one block",
                   .path = name,
                   .error_number = E2BIG};
  }
  return filesystem_.Check(code, "set the attribute", name);
}

Result<std::optional<Acl>> XattrStore::AccessAcl(ext2_ino_t number) {
  XattrHandle handle(filesystem_);
  ROOTLOOM_RETURN_IF_ERROR(handle.Open(number));
  const Result<std::string> value = handle.Value(std::string(kAccessAcl));
  if (!value.ok()) {
    if (value.status().failure().kind == StatusKind::kNotFound) return std::optional<Acl>();
    return value.status();
  }
  ROOTLOOM_ASSIGN_OR_RETURN(Acl acl, Acl::FromDiskForm(*value));
  return std::optional(std::move(acl));
}

Status XattrStore::SetAccessAcl(ext2_ino_t number, const Acl& acl) {
  if (!acl.IsMinimal()) {
    ROOTLOOM_RETURN_IF_ERROR(SetRaw(number, std::string(kAccessAcl), acl.ToDiskForm()));
  } else {
    ROOTLOOM_ASSIGN_OR_RETURN(const std::optional<Acl> before, AccessAcl(number));
    if (before.has_value()) ROOTLOOM_RETURN_IF_ERROR(Remove(number, kAccessAcl));
  }
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, inodes_.Load(number));
  inode.SetPermissions((inode.raw.i_mode & ~0777u) | acl.Permissions());
  return inodes_.Save(inode);
}

Status XattrStore::AdaptAcl(ext2_ino_t number, uint32_t permissions) {
  ROOTLOOM_ASSIGN_OR_RETURN(std::optional<Acl> acl, AccessAcl(number));
  if (!acl.has_value()) return Status::Ok();
  acl->SetPermissions(permissions);
  return SetRaw(number, std::string(kAccessAcl), acl->ToDiskForm());
}

Status XattrStore::Remove(ext2_ino_t number, std::string_view name) {
  XattrHandle handle(filesystem_);
  ROOTLOOM_RETURN_IF_ERROR(handle.Open(number));
  const size_t count = handle.count();
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_xattr_remove(handle.get(), std::string(name).c_str()), "remove the attribute"));
  if (handle.count() == count) {
    return Failure{.kind = StatusKind::kNotFound,
                   .operation = "remove the attribute",
                   .detail = "the file has no such attribute",
                   .path = std::string(name),
                   .error_number = ENODATA};
  }
  return handle.count() == 0 ? FreeBlock(number) : Status::Ok();
}

Status XattrStore::Clear(ext2_ino_t number) {
  XattrHandle handle(filesystem_);
  ROOTLOOM_RETURN_IF_ERROR(handle.Open(number));
  if (handle.count() > 0) {
    ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(ext2fs_xattr_remove_all(handle.get()), "remove the attributes of"));
  }
  return FreeBlock(number);
}

// libext2fs keeps an attribute block that became empty.
Status XattrStore::FreeBlock(ext2_ino_t number) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, inodes_.Load(number));
  const uint64_t block = ext2fs_file_acl_block(filesystem_.raw(), inode.base());
  if (block == 0) return Status::Ok();
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_free_ext_attr(filesystem_.raw(), number, &inode.raw), "free the attributes of"));
  ROOTLOOM_RETURN_IF_ERROR(inodes_.Save(inode));
  if (ext2fs_test_block_bitmap2(filesystem_.raw()->block_map, block) != 0) return Status::Ok();  // still shared
  return blocks_.Trim(block, 1);
}

}  // namespace rootloom
