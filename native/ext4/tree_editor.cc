#include "native/ext4/tree_editor.h"

#include <cerrno>

namespace rootloom {

namespace {

constexpr uint32_t kMaxLinkCount = 65000;
constexpr uint32_t kMaxDeviceMajor = (1 << 12) - 1;
constexpr uint32_t kMaxDeviceMinor = (1 << 20) - 1;
// A directory with more subdirectories than can be counted says 1.
constexpr uint32_t kUncounted = 1;

}  // namespace

Result<ext2_ino_t> TreeEditor::Attach(ext2_ino_t parent, const std::string& name, Inode& inode) {
  Result<std::optional<ext2_ino_t>> replaced = store_.directories.Find(parent, name);
  Status status = replaced.status();
  if (status.ok()) status = store_.inodes.SaveNew(inode);
  if (status.ok()) status = store_.directories.Put(parent, {name, inode.number, DirectoryEntryType(inode.type())});
  if (!status.ok()) {
    Discard(inode);
    return status;
  }
  if (replaced->has_value()) {
    ROOTLOOM_ASSIGN_OR_RETURN(Inode old, store_.inodes.Load(**replaced));
    ROOTLOOM_RETURN_IF_ERROR(DropLink(old));
  }
  return inode.number;
}

// Best effort: the failure that led here is what the caller reports.
void TreeEditor::Discard(Inode& inode) {
  (void)store_.blocks.Truncate(inode);
  (void)store_.inodes.Free(inode);
}

Result<ext2_ino_t> TreeEditor::MakeFile(ext2_ino_t parent, const std::string& name, const Attributes& attributes,
                                        const FillContent& fill) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Allocate(parent, FileType::kRegular, attributes));
  ContentWriter writer(store_.blocks);
  Result<uint64_t> size_bytes = fill(writer);
  Status status = size_bytes.ok() ? writer.Finish(inode, *size_bytes) : size_bytes.status();
  if (status.ok()) return Attach(parent, name, inode);
  (void)store_.inodes.Free(inode);
  return status;
}

Result<ext2_ino_t> TreeEditor::MakeDirectory(ext2_ino_t parent, const std::string& name, const Attributes& attributes) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Allocate(parent, FileType::kDirectory, attributes));
  Status status = store_.blocks.SetRuns(inode, {});
  if (status.ok()) status = AddToLinkCount(parent, +1);
  if (!status.ok()) {
    Discard(inode);
    return status;
  }
  Result<ext2_ino_t> number = Attach(parent, name, inode);
  if (number.ok()) {
    store_.directories.AddEmpty(*number, parent);
  } else {
    (void)AddToLinkCount(parent, -1);
  }
  return number;
}

Result<ext2_ino_t> TreeEditor::MakeSymlink(ext2_ino_t parent, const std::string& name, const std::string& target,
                                           const Attributes& attributes) {
  if (target.empty() || target.size() > kMaxSymlinkBytes || target.size() >= store_.blocks.block_bytes()) {
    return Failure{
        .kind = StatusKind::kInvalidArgument,
        .operation = "make the symbolic link",
        .detail = "its target is " + std::to_string(target.size()) + " bytes long, ext4 holds from 1 to 4095",
        .path = name,
        .error_number = ENAMETOOLONG};
  }
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Allocate(parent, FileType::kSymlink, attributes));
  if (target.size() < sizeof inode.raw.i_block) {
    std::memcpy(inode.raw.i_block, target.data(), target.size());
    inode.raw.i_size = static_cast<uint32_t>(target.size());
    return Attach(parent, name, inode);
  }
  ContentWriter writer(store_.blocks);
  Status status = writer.Write(0, std::as_bytes(std::span(target)));
  if (status.ok()) status = writer.Finish(inode, target.size());
  if (status.ok()) return Attach(parent, name, inode);
  (void)store_.inodes.Free(inode);
  return status;
}

Result<ext2_ino_t> TreeEditor::MakeSpecial(ext2_ino_t parent, const std::string& name, FileType type,
                                           DeviceNumber device, const Attributes& attributes) {
  if (device.major > kMaxDeviceMajor || device.minor > kMaxDeviceMinor) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = "make the device",
                   .detail = "Linux has device numbers up to 4095:1048575",
                   .path = name,
                   .error_number = EINVAL};
  }
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Allocate(parent, type, attributes));
  if (type == FileType::kCharacterDevice || type == FileType::kBlockDevice) {
    if (device.major < 256 && device.minor < 256) {
      inode.raw.i_block[0] = device.major << 8 | device.minor;
    } else {
      inode.raw.i_block[1] = (device.minor & 0xff) | device.major << 8 | (device.minor & ~0xffu) << 12;
    }
  }
  return Attach(parent, name, inode);
}

Status TreeEditor::Link(ext2_ino_t parent, const std::string& name, ext2_ino_t target) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(target));
  if (inode.raw.i_links_count >= kMaxLinkCount) {
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = "link",
                   .detail = "the file has 65000 names already",
                   .path = name,
                   .error_number = EMLINK};
  }
  ROOTLOOM_RETURN_IF_ERROR(store_.directories.Put(parent, {name, target, DirectoryEntryType(inode.type())}));
  inode.raw.i_links_count += 1;
  return store_.inodes.SaveChanged(inode);
}

Status TreeEditor::ReplaceContent(ext2_ino_t number, const FillContent& fill) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(number));
  // The new content is complete before the old one goes, so that a full image leaves the old one.
  ContentWriter writer(store_.blocks);
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t size_bytes, fill(writer));
  ROOTLOOM_RETURN_IF_ERROR(store_.blocks.Truncate(inode));
  std::memset(inode.raw.i_block, 0, sizeof inode.raw.i_block);
  ROOTLOOM_RETURN_IF_ERROR(writer.Finish(inode, size_bytes));
  inode.SetModifyTime(store_.inodes.clock().Now());
  return store_.inodes.SaveChanged(inode);
}

Status TreeEditor::FreeInode(Inode& inode) {
  ext2_filsys fs = store_.filesystem.raw();
  if (ext2fs_file_acl_block(fs, inode.base()) != 0 || ext2fs_has_feature_ea_inode(fs->super) != 0) {
    ROOTLOOM_RETURN_IF_ERROR(store_.xattrs.Clear(inode.number));
    ROOTLOOM_ASSIGN_OR_RETURN(inode, store_.inodes.Load(inode.number));
  }
  ROOTLOOM_RETURN_IF_ERROR(store_.blocks.Truncate(inode));
  return store_.inodes.Free(inode);
}

Status TreeEditor::Unlink(ext2_ino_t parent, const std::string& name, Inode& inode) {
  ROOTLOOM_RETURN_IF_ERROR(store_.directories.Erase(parent, name));
  return DropLink(inode);
}

Status TreeEditor::DropLink(Inode& inode) {
  if (inode.raw.i_links_count == 1) return FreeInode(inode);
  inode.raw.i_links_count -= 1;
  return store_.inodes.SaveChanged(inode);
}

Status TreeEditor::RemoveEmptyDirectory(ext2_ino_t parent, const std::string& name, Inode& inode) {
  ROOTLOOM_RETURN_IF_ERROR(store_.directories.Erase(parent, name));
  store_.directories.Forget(inode.number);
  ROOTLOOM_RETURN_IF_ERROR(AddToLinkCount(parent, -1));
  return FreeInode(inode);
}

Status TreeEditor::Remove(ext2_ino_t parent, const std::string& name, const RemovalFilter& filter,
                          const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const auto found, store_.directories.Find(parent, name));
  if (!found.has_value()) return Status::Errno("remove", name, ENOENT);
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(*found));
  if (inode.is_directory()) {
    ROOTLOOM_RETURN_IF_ERROR(RemoveChildren(*found, filter, context));
    if (filter.keeps(parent, name)) return Status::Ok();
    ROOTLOOM_ASSIGN_OR_RETURN(inode, store_.inodes.Load(*found));
    filter.removed_directory(*found);
    return RemoveEmptyDirectory(parent, name, inode);
  }
  return filter.keeps(parent, name) ? Status::Ok() : Unlink(parent, name, inode);
}

Status TreeEditor::RemoveChildren(ext2_ino_t directory, const RemovalFilter& filter, const CallContext& context) {
  struct Level {
    ext2_ino_t directory;
    std::string name;  // its entry in the level above
    std::vector<DirectoryEntry> entries;
    size_t next = 0;
  };
  std::vector<Level> levels;
  ROOTLOOM_ASSIGN_OR_RETURN(std::vector<DirectoryEntry> top, store_.directories.List(directory));
  levels.push_back({directory, "", std::move(top)});
  for (;;) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("remove files"));
    Level& level = levels.back();
    if (level.next < level.entries.size()) {
      const DirectoryEntry entry = level.entries[level.next++];
      ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(entry.inode));
      if (inode.is_directory()) {
        for (const Level& above : levels) {
          if (above.directory == entry.inode) {
            return Status::Corrupt("remove files",
                                   "directory inode " + std::to_string(entry.inode) + " lies below itself");
          }
        }
        ROOTLOOM_ASSIGN_OR_RETURN(std::vector<DirectoryEntry> below, store_.directories.List(entry.inode));
        levels.push_back({entry.inode, entry.name, std::move(below)});
      } else if (!filter.keeps(level.directory, entry.name)) {
        ROOTLOOM_RETURN_IF_ERROR(Unlink(level.directory, entry.name, inode));
      }
      continue;
    }
    const Level done = std::move(levels.back());
    levels.pop_back();
    if (levels.empty()) return Status::Ok();
    const ext2_ino_t parent = levels.back().directory;
    if (filter.keeps(parent, done.name)) continue;
    ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(done.directory));
    filter.removed_directory(done.directory);
    ROOTLOOM_RETURN_IF_ERROR(RemoveEmptyDirectory(parent, done.name, inode));
  }
}

Result<bool> TreeEditor::IsBelow(ext2_ino_t directory, ext2_ino_t ancestor) {
  while (directory != ancestor) {
    if (directory == EXT2_ROOT_INO) return false;
    ROOTLOOM_ASSIGN_OR_RETURN(directory, store_.directories.ParentOf(directory));
  }
  return true;
}

Status TreeEditor::Move(const Place& from, ext2_ino_t new_parent, const std::string& new_name) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(from.inode));
  ROOTLOOM_RETURN_IF_ERROR(
      store_.directories.Put(new_parent, {new_name, from.inode, DirectoryEntryType(inode.type())}));
  ROOTLOOM_RETURN_IF_ERROR(store_.directories.Erase(from.parent, from.name));
  if (inode.is_directory() && new_parent != from.parent) {
    ROOTLOOM_RETURN_IF_ERROR(store_.directories.SetParent(from.inode, new_parent));
    ROOTLOOM_RETURN_IF_ERROR(AddToLinkCount(from.parent, -1));
    ROOTLOOM_RETURN_IF_ERROR(AddToLinkCount(new_parent, +1));
  }
  return store_.inodes.SaveChanged(inode);
}

Status TreeEditor::Change(ext2_ino_t number, const AttributeChange& change) {
  if (change.permissions.has_value()) ROOTLOOM_RETURN_IF_ERROR(store_.xattrs.AdaptAcl(number, *change.permissions));
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(number));
  if (change.permissions.has_value()) inode.SetPermissions(*change.permissions);
  inode.SetOwner(change.uid.value_or(inode.uid()), change.gid.value_or(inode.gid()));
  if (change.atime.has_value()) inode.SetAccessTime(*change.atime);
  if (change.mtime.has_value()) inode.SetModifyTime(*change.mtime);
  return store_.inodes.SaveChanged(inode);
}

Status TreeEditor::Touch(ext2_ino_t directory) { return Change(directory, {.mtime = store_.inodes.clock().Now()}); }

Status TreeEditor::AddToLinkCount(ext2_ino_t directory, int difference) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(directory));
  uint32_t count = inode.raw.i_links_count;
  if (count == kUncounted) return Status::Ok();
  count += static_cast<uint32_t>(difference);
  if (count > kMaxLinkCount) {
    if (ext2fs_has_feature_dir_nlink(store_.filesystem.raw()->super) == 0) {
      return Failure{.kind = StatusKind::kUnsupported,
                     .operation = "make a directory in",
                     .detail = "the directory has 64998 subdirectories already, and the filesystem allows no more",
                     .path = store_.filesystem.device().name(),
                     .error_number = EMLINK};
    }
    count = kUncounted;
  }
  inode.raw.i_links_count = static_cast<uint16_t>(count);
  return store_.inodes.Save(inode);
}

}  // namespace rootloom
