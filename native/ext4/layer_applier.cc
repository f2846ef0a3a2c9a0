#include "native/ext4/layer_applier.h"

#include <cerrno>
#include <cstring>

#include "native/ext4/tree_lookup.h"

namespace rootloom {

namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kMetaPrefix = ".wh..wh.";
constexpr std::string_view kOpaqueMark = ".wh..wh..opq";
constexpr uint32_t kMissingParentPermissions = 0755;

// The components of an archive's path, with "." and ".." resolved by name alone, and never above the root.
std::vector<std::string> CleanPath(const std::string& path) {
  std::vector<std::string> cleaned;
  for (std::string& component : SplitPath(path)) {
    if (component == ".") continue;
    if (component != "..") {
      cleaned.push_back(std::move(component));
    } else if (!cleaned.empty()) {
      cleaned.pop_back();
    }
  }
  return cleaned;
}

std::string Join(std::span<const std::string> components) {
  std::string path;
  for (const std::string& component : components) path += "/" + component;
  return path;
}

// Says which entry a failure concerns.
Status OfEntry(Status status, const LayerEntry& entry) {
  if (status.ok()) return status;
  Failure& failure = status.failure();
  if (failure.detail.empty() && failure.error_number != 0) failure.detail = strerrordesc_np(failure.error_number);
  failure.operation = "apply the layer's entry";
  failure.path = entry.path;
  return status;
}

Failure Corrupt(const std::string& detail) {
  return {.kind = StatusKind::kCorrupt, .operation = "apply the layer's entry", .detail = detail};
}

}  // namespace

Result<LayerReport> LayerApplier::Apply(LayerReader& reader, const LayerOptions& options, const CallContext& context) {
  LayerEntry entry;
  for (;;) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("apply a layer"));
    ROOTLOOM_ASSIGN_OR_RETURN(const bool found, reader.Next(entry));
    if (!found) break;
    has_begun_ = true;
    ROOTLOOM_RETURN_IF_ERROR(OfEntry(ApplyEntry(reader, entry, context), entry));
    ROOTLOOM_RETURN_IF_ERROR(store_.directories.Shrink());
    report_.entry_count += 1;
  }
  ROOTLOOM_ASSIGN_OR_RETURN(ArchiveDigest digest, reader.Finish());
  if (options.diff_id.has_value() && *options.diff_id != digest.diff_id) {
    return Status::Corrupt("apply a layer",
                           "its archive has the digest " + digest.diff_id + ", the image says " + *options.diff_id);
  }
  report_.diff_id = std::move(digest.diff_id);
  report_.blob_bytes = digest.blob_bytes;
  report_.archive_bytes = digest.archive_bytes;
  return std::move(report_);
}

Status LayerApplier::ApplyEntry(LayerReader& reader, const LayerEntry& entry, const CallContext& context) {
  const std::vector<std::string> components = CleanPath(entry.path);
  if (components.empty()) return ApplyToRoot(entry);
  const std::string& name = components.back();
  const std::string directory_path = Join(std::span(components).first(components.size() - 1));
  if (name.starts_with(kWhiteoutPrefix)) return ApplyWhiteout(directory_path, name, context);
  ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t parent, EnterDirectory(directory_path));
  entries_.Add(parent, name);
  if (entry.is_hard_link) return ApplyHardLink(parent, name, entry, context);
  if (entry.type == FileType::kDirectory) return ApplyDirectory(parent, name, entry, context);
  return ApplyFile(reader, parent, name, entry, context);
}

Status LayerApplier::ApplyToRoot(const LayerEntry& entry) {
  if (entry.is_hard_link || entry.type != FileType::kDirectory) {
    return Corrupt("it is in the place of the root directory, and is no directory");
  }
  return TakeOver(EXT2_ROOT_INO, entry);
}

Result<ext2_ino_t> LayerApplier::EnterDirectory(const std::string& path) {
  const ResolveOptions options{
      .make_directory =
          [this](ext2_ino_t parent, const std::string& name) {
            return editor_.MakeDirectory(parent, name, {.permissions = kMissingParentPermissions});
          },
      .passing = [this](ext2_ino_t parent, const std::string& name) { entries_.Add(parent, name); }};
  // The last component "." makes the one before it a directory on the way.
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, Resolve(store_, path + "/.", options));
  return place.inode;
}

RemovalFilter LayerApplier::LowerOnly() {
  return {.keeps = [this](ext2_ino_t directory, const std::string& name) { return entries_.Contains(directory, name); },
          .removed_directory = [this](ext2_ino_t directory) { entries_.Forget(directory); }};
}

Status LayerApplier::ApplyWhiteout(const std::string& directory_path, const std::string& mark,
                                   const CallContext& context) {
  if (mark == kOpaqueMark) {
    ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t directory, EnterDirectory(directory_path));
    report_.whiteout_count += 1;
    return editor_.RemoveChildren(directory, LowerOnly(), context);
  }
  if (mark.starts_with(kMetaPrefix)) return Status::Ok();
  const std::string name = mark.substr(kWhiteoutPrefix.size());
  if (name.empty() || name == "." || name == "..") return Corrupt("it is a whiteout of no name");
  report_.whiteout_count += 1;
  const Result<Place> directory = Resolve(store_, directory_path + "/.", {});
  if (!directory.ok()) {
    // Where there is no directory there is nothing to remove.
    const Failure failure = directory.status().failure();
    const bool absent = failure.kind == StatusKind::kNotFound || failure.error_number == ENOTDIR;
    return absent ? Status::Ok() : directory.status();
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const auto found, store_.directories.Find(directory->inode, name));
  return found.has_value() ? editor_.Remove(directory->inode, name, LowerOnly(), context) : Status::Ok();
}

Status LayerApplier::RemoveExisting(ext2_ino_t parent, const std::string& name, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const auto found, store_.directories.Find(parent, name));
  if (!found.has_value()) return Status::Ok();
  RemovalFilter everything;
  everything.removed_directory = [this](ext2_ino_t directory) { entries_.Forget(directory); };
  return editor_.Remove(parent, name, everything, context);
}

Status LayerApplier::ApplyDirectory(ext2_ino_t parent, const std::string& name, const LayerEntry& entry,
                                    const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const auto found, store_.directories.Find(parent, name));
  if (found.has_value()) {
    ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, store_.inodes.Load(*found));
    if (inode.is_directory()) return TakeOver(*found, entry);
    ROOTLOOM_RETURN_IF_ERROR(RemoveExisting(parent, name, context));
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t made, editor_.MakeDirectory(parent, name, entry.attributes));
  return SetXattrs(made, entry);
}

Status LayerApplier::TakeOver(ext2_ino_t directory, const LayerEntry& entry) {
  ROOTLOOM_RETURN_IF_ERROR(store_.xattrs.Clear(directory));
  const Attributes& given = entry.attributes;
  ROOTLOOM_RETURN_IF_ERROR(editor_.Change(directory, {.permissions = given.permissions,
                                                      .uid = given.uid,
                                                      .gid = given.gid,
                                                      .atime = given.atime.has_value() ? given.atime : given.mtime,
                                                      .mtime = given.mtime}));
  return SetXattrs(directory, entry);
}

Status LayerApplier::ApplyHardLink(ext2_ino_t parent, const std::string& name, const LayerEntry& entry,
                                   const CallContext& context) {
  const std::vector<std::string> components = CleanPath(entry.link_target);
  ROOTLOOM_ASSIGN_OR_RETURN(const Place target, Resolve(store_, Join(components), {.last = LastLink::kKeep}));
  if (target.inode == 0) return Corrupt("it is a link to " + entry.link_target + ", which does not exist");
  ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, store_.inodes.Load(target.inode));
  if (inode.is_directory()) return Corrupt("it is a link to " + entry.link_target + ", which is a directory");
  ROOTLOOM_ASSIGN_OR_RETURN(const auto existing, store_.directories.Find(parent, name));
  if (existing == target.inode) return Status::Ok();
  ROOTLOOM_RETURN_IF_ERROR(RemoveExisting(parent, name, context));
  return editor_.Link(parent, name, target.inode);
}

Status LayerApplier::ApplyFile(LayerReader& reader, ext2_ino_t parent, const std::string& name, const LayerEntry& entry,
                               const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(RemoveExisting(parent, name, context));
  ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t made, Make(reader, parent, name, entry, context));
  return SetXattrs(made, entry);
}

Result<ext2_ino_t> LayerApplier::Make(LayerReader& reader, ext2_ino_t parent, const std::string& name,
                                      const LayerEntry& entry, const CallContext& context) {
  if (entry.type == FileType::kSymlink) {
    return editor_.MakeSymlink(parent, name, entry.link_target, entry.attributes);
  }
  if (entry.type != FileType::kRegular) {
    return editor_.MakeSpecial(parent, name, entry.type, entry.device, entry.attributes);
  }
  return editor_.MakeFile(parent, name, entry.attributes, [&](ContentWriter& writer) -> Result<uint64_t> {
    ROOTLOOM_RETURN_IF_ERROR(reader.ReadContent([&](uint64_t offset_bytes, std::span<const std::byte> data) -> Status {
      ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("apply a layer"));
      if (offset_bytes + data.size() > entry.size_bytes) return Corrupt("its content is longer than its size");
      return writer.Write(offset_bytes, data);
    }));
    return entry.size_bytes;
  });
}

Status LayerApplier::SetXattrs(ext2_ino_t number, const LayerEntry& entry) {
  for (const Xattr& attribute : entry.xattrs) {
    if (IsStorableXattrName(attribute.name)) {
      ROOTLOOM_RETURN_IF_ERROR(store_.xattrs.Set(number, attribute));
    } else if (report_.skipped_xattrs.size() < kMaxSkippedXattrs) {
      report_.skipped_xattrs.push_back({entry.path, attribute.name});
    }
  }
  return Status::Ok();
}

}  // namespace rootloom
