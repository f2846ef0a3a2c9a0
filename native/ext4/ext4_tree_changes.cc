#include <cerrno>

#include "native/ext4/ext4_tree.h"
#include "native/ext4/ext4_tree_session.h"
#include "native/ext4/layer_applier.h"
#include "native/ext4/tree_editor.h"
#include "native/ext4/tree_lookup.h"

namespace rootloom {

namespace {

constexpr uint32_t kFilePermissions = 0644;
constexpr uint32_t kDirectoryPermissions = 0755;
constexpr uint32_t kSymlinkPermissions = 0777;

Failure Refusal(const char* operation, const std::string& path, const char* detail, int error_number) {
  return Failure{.kind = StatusKind::kInvalidArgument,
                 .operation = operation,
                 .detail = detail,
                 .path = path,
                 .error_number = error_number};
}

Attributes WithDefaults(const AttributeChange& given, uint32_t permissions) {
  return {.permissions = given.permissions.value_or(permissions),
          .uid = given.uid.value_or(0),
          .gid = given.gid.value_or(0),
          .atime = given.atime,
          .mtime = given.mtime};
}

bool IsEmpty(const AttributeChange& change) {
  return !change.permissions && !change.uid && !change.gid && !change.atime && !change.mtime;
}

Result<Inode> LoadAt(TreeStore& store, const Place& place) { return store.inodes.Load(place.inode); }

// The place of an entry that is to be made: one with a name.
Result<Place> PlaceFor(TreeStore& store, const char* operation, const std::string& path,
                       const ResolveOptions& options) {
  ROOTLOOM_ASSIGN_OR_RETURN(Place place, Resolve(store, path, options));
  if (place.name.empty()) return Refusal(operation, path, "it is a directory that exists", EISDIR);
  return place;
}

Result<Place> FreePlace(TreeStore& store, const char* operation, const std::string& path) {
  ROOTLOOM_ASSIGN_OR_RETURN(Place place, PlaceFor(store, operation, path, {.last = LastLink::kKeep}));
  if (place.inode != 0) return Refusal(operation, path, "it exists", EEXIST);
  return place;
}

// A file can take the place of anything but a directory.
Status CheckReplaceable(TreeStore& store, const Place& place, const std::string& path) {
  if (place.inode == 0) return Status::Ok();
  ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, LoadAt(store, place));
  return inode.is_directory() ? Refusal("replace", path, "it is a directory", EISDIR) : Status::Ok();
}

// Gives up a change because of something outside the image, which is kept for the caller: the failure returned is one
// after which the tree is as it was.
Status GiveUp(Failure outside, std::optional<Failure>& kept) {
  kept = std::move(outside);
  return Status::Cancelled("change the files");
}

// All that the source has.
Result<uint64_t> Fill(ContentSource& source, ContentWriter& writer, std::optional<Failure>& source_failure,
                      const CallContext& context) {
  for (;;) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("copy a file in"));
    const Result<ContentSource::Piece> piece = source.Next(context);
    if (!piece.ok()) return GiveUp(piece.status().failure(), source_failure);
    if (piece->data.empty()) return source.size_bytes();
    ROOTLOOM_RETURN_IF_ERROR(writer.Write(piece->offset_bytes, piece->data));
    context.report({.step = "copy in", .done = piece->offset_bytes + piece->data.size(), .total = source.size_bytes()});
  }
}

// The damage that holds while a change runs, so that it stays when the change is left by an exception.
Failure OutOfMemory() { return Status::Errno("change the files of the image", "", ENOMEM).failure(); }

}  // namespace

Status Ext4Tree::Edit(const CallContext& context, const std::function<Status(TreeEditor&)>& body) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kChange, context));
  change_count_ += 1;
  TreeEditor editor(session.store());
  damage_ = OutOfMemory();
  Status status = body(editor);
  const bool damages =
      !status.ok() && (status.failure().kind == StatusKind::kIo || status.failure().kind == StatusKind::kCorrupt);
  damage_ = damages ? std::optional(status.failure()) : std::nullopt;
  return status;
}

Status Ext4Tree::WriteContent(const std::string& path, ContentSource& source, const NewFile& file,
                              const CallContext& context) {
  std::optional<Failure> source_failure;
  const FillContent fill = [&](ContentWriter& writer) { return Fill(source, writer, source_failure, context); };
  Status status = Edit(context, [&](TreeEditor& editor) -> Status {
    TreeStore& store = editor.store();
    const LastLink last = file.replace ? LastLink::kKeep : LastLink::kFollow;
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, PlaceFor(store, "write", path, {.last = last}));
    if (place.inode != 0 && !file.replace) {
      ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, LoadAt(store, place));
      if (inode.type() != FileType::kRegular) return Refusal("write", path, "it is not a regular file", EISDIR);
      ROOTLOOM_RETURN_IF_ERROR(editor.ReplaceContent(place.inode, fill));
      return IsEmpty(file.attributes) ? Status::Ok() : editor.Change(place.inode, file.attributes);
    }
    ROOTLOOM_RETURN_IF_ERROR(CheckReplaceable(editor.store(), place, path));
    const Attributes attributes = WithDefaults(file.attributes, kFilePermissions);
    ROOTLOOM_RETURN_IF_ERROR(editor.MakeFile(place.parent, place.name, attributes, fill).status());
    return editor.Touch(place.parent);
  });
  return source_failure.has_value() ? Status(*std::move(source_failure)) : status;
}

Status Ext4Tree::MakeDirectory(const std::string& path, const AttributeChange& attributes, bool parents,
                               const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    ResolveOptions options{.last = parents ? LastLink::kFollow : LastLink::kKeep};
    if (parents) {
      options.make_directory = [&editor](ext2_ino_t parent, const std::string& name) -> Result<ext2_ino_t> {
        ROOTLOOM_RETURN_IF_ERROR(editor.Touch(parent));
        return editor.MakeDirectory(parent, name, {.permissions = kDirectoryPermissions});
      };
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, Resolve(editor.store(), path, options));
    if (place.inode != 0) {
      ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, LoadAt(editor.store(), place));
      if (parents && inode.is_directory()) return Status::Ok();
      return Refusal("make the directory", path, "it exists", EEXIST);
    }
    const Attributes made = WithDefaults(attributes, kDirectoryPermissions);
    ROOTLOOM_RETURN_IF_ERROR(editor.MakeDirectory(place.parent, place.name, made).status());
    return editor.Touch(place.parent);
  });
}

Status Ext4Tree::MakeSymlink(const std::string& target, const std::string& path, const NewFile& file,
                             const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place,
                              PlaceFor(editor.store(), "make the symbolic link", path, {.last = LastLink::kKeep}));
    if (place.inode != 0 && !file.replace) return Refusal("make the symbolic link", path, "it exists", EEXIST);
    ROOTLOOM_RETURN_IF_ERROR(CheckReplaceable(editor.store(), place, path));
    const Attributes attributes = WithDefaults(file.attributes, kSymlinkPermissions);
    ROOTLOOM_RETURN_IF_ERROR(editor.MakeSymlink(place.parent, place.name, target, attributes).status());
    return editor.Touch(place.parent);
  });
}

Status Ext4Tree::MakeHardLink(const std::string& existing, const std::string& path, const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    ROOTLOOM_ASSIGN_OR_RETURN(const Place target, ResolveExisting(editor.store(), existing, LastLink::kKeep));
    ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, LoadAt(editor.store(), target));
    if (inode.is_directory()) return Refusal("link", existing, "it is a directory", EPERM);
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, FreePlace(editor.store(), "make the link", path));
    ROOTLOOM_RETURN_IF_ERROR(editor.Link(place.parent, place.name, target.inode));
    return editor.Touch(place.parent);
  });
}

Status Ext4Tree::MakeSpecial(const std::string& path, FileType type, DeviceNumber device,
                             const AttributeChange& attributes, const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, FreePlace(editor.store(), "make the node", path));
    const Attributes made = WithDefaults(attributes, kFilePermissions);
    ROOTLOOM_RETURN_IF_ERROR(editor.MakeSpecial(place.parent, place.name, type, device, made).status());
    return editor.Touch(place.parent);
  });
}

Status Ext4Tree::Change(const std::string& path, LastLink last, const AttributeChange& change,
                        const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(editor.store(), path, last));
    return editor.Change(place.inode, change);
  });
}

Status Ext4Tree::SetXattr(const std::string& path, LastLink last, const Xattr& attribute, const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(editor.store(), path, last));
    ROOTLOOM_RETURN_IF_ERROR(editor.store().xattrs.Set(place.inode, attribute));
    return editor.Change(place.inode, {});
  });
}

Status Ext4Tree::RemoveXattr(const std::string& path, LastLink last, const std::string& name,
                             const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(editor.store(), path, last));
    ROOTLOOM_RETURN_IF_ERROR(editor.store().xattrs.Remove(place.inode, name));
    return editor.Change(place.inode, {});
  });
}

Status Ext4Tree::Remove(const std::string& path, bool recursive, const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    TreeStore& store = editor.store();
    ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(store, path, LastLink::kKeep));
    if (place.name.empty()) return Refusal("remove", path, "the path must end in the name of an entry", EBUSY);
    ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, LoadAt(store, place));
    if (inode.is_directory() && !recursive) {
      ROOTLOOM_ASSIGN_OR_RETURN(const bool empty, store.directories.IsEmpty(place.inode));
      if (!empty) return Refusal("remove", path, "the directory is not empty", ENOTEMPTY);
    }
    ROOTLOOM_RETURN_IF_ERROR(editor.Remove(place.parent, place.name, {}, context));
    return editor.Touch(place.parent);
  });
}

Status Ext4Tree::Rename(const std::string& from, const std::string& to, const CallContext& context) {
  return Edit(context, [&](TreeEditor& editor) -> Status {
    TreeStore& store = editor.store();
    ROOTLOOM_ASSIGN_OR_RETURN(const Place source, ResolveExisting(store, from, LastLink::kKeep));
    ROOTLOOM_ASSIGN_OR_RETURN(const Place target, Resolve(store, to, {.last = LastLink::kKeep}));
    if (source.name.empty() || target.name.empty()) {
      return Refusal("rename", from, "both paths must end in the name of an entry", EBUSY);
    }
    if (target.inode == source.inode) return Status::Ok();
    ROOTLOOM_ASSIGN_OR_RETURN(const bool inside, editor.IsBelow(target.parent, source.inode));
    if (inside) return Refusal("rename", from, "a directory cannot be moved below itself", EINVAL);
    if (target.inode != 0) {
      ROOTLOOM_ASSIGN_OR_RETURN(const Inode moved, LoadAt(store, source));
      ROOTLOOM_ASSIGN_OR_RETURN(const Inode replaced, LoadAt(store, target));
      if (replaced.is_directory() != moved.is_directory()) {
        return Refusal("replace", to, "a directory takes the place of a directory only",
                       replaced.is_directory() ? EISDIR : ENOTDIR);
      }
      if (replaced.is_directory()) {
        ROOTLOOM_ASSIGN_OR_RETURN(const bool empty, store.directories.IsEmpty(target.inode));
        if (!empty) return Refusal("replace", to, "the directory is not empty", ENOTEMPTY);
      }
      ROOTLOOM_RETURN_IF_ERROR(editor.Remove(target.parent, target.name, {}, context));
    }
    ROOTLOOM_RETURN_IF_ERROR(editor.Move(source, target.parent, target.name));
    ROOTLOOM_RETURN_IF_ERROR(editor.Touch(source.parent));
    return editor.Touch(target.parent);
  });
}

Result<LayerReport> Ext4Tree::ApplyLayer(ContentSource& blob, const LayerOptions& options, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kChange, context));
  ROOTLOOM_ASSIGN_OR_RETURN(LayerReader reader, LayerReader::Open(blob, context));
  change_count_ += 1;
  LayerApplier applier(session.store());
  damage_ = OutOfMemory();
  Result<LayerReport> report = applier.Apply(reader, options, context);
  damage_ = !report.ok() && applier.has_begun() ? std::optional(report.status().failure()) : std::nullopt;
  return report;
}

Status Ext4Tree::FlushInTurn() {
  ROOTLOOM_RETURN_IF_ERROR(store_->directories.Flush());
  return filesystem_->Flush();
}

Status Ext4Tree::Flush(const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Session session, Enter(Purpose::kChange, context));
  return FlushInTurn();
}

Result<bool> Ext4Tree::Finish(const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Session session, Enter(Purpose::kRead, context));
  filesystem_->SetContext({});
  const bool sound = !damage_.has_value();
  const Status status = writable_ && sound ? FlushInTurn() : Status::Ok();
  store_ = nullptr;
  filesystem_ = nullptr;
  if (!status.ok()) return status;
  return sound;
}

}  // namespace rootloom
