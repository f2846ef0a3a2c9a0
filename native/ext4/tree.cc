#include "native/ext4/tree.h"

#include <unistd.h>

#include <cerrno>

#include "native/ext4/tree_content.h"
#include "native/ext4/tree_lookup.h"
#include "native/ext4/tree_session.h"
#include "native/ext4/tree_walk.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr size_t kChunkBytes = 1 << 20;

// Features whose structures the stores do not keep up.
Status CheckCanBeChanged(Filesystem& filesystem) {
  ext2_super_block* super = &filesystem.super();
  const char* obstacle = ext2fs_has_feature_extents(super) == 0    ? "has no extents"
                         : ext2fs_has_feature_bigalloc(super)      ? "allocates clusters (bigalloc)"
                         : ext2fs_has_feature_inline_data(super)   ? "keeps content in inodes (inline_data)"
                         : ext2fs_has_feature_casefold(super)      ? "has names without case (casefold)"
                         : ext2fs_has_feature_encrypt(super)       ? "is encrypted"
                         : ext2fs_has_feature_quota(super)         ? "has quotas"
                         : ext2fs_has_feature_shared_blocks(super) ? "has shared blocks"
                                                                   : nullptr;
  if (obstacle == nullptr) return Status::Ok();
  return Failure{.kind = StatusKind::kUnsupported,
                 .operation = "change the files of",
                 .detail = std::string("the filesystem ") + obstacle,
                 .path = filesystem.device().name()};
}

Failure NotAFile(const std::string& path, FileType type) {
  return Failure{.kind = StatusKind::kInvalidArgument,
                 .operation = "read",
                 .detail = "it is not a regular file",
                 .path = path,
                 .error_number = type == FileType::kDirectory ? EISDIR : EINVAL};
}

Result<ContentReader> OpenContent(TreeStore& store, const std::string& path) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(store, path, LastLink::kFollow));
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store.inodes.Load(place.inode));
  if (inode.type() != FileType::kRegular) return NotAFile(path, inode.type());
  return ContentReader::Open(store.filesystem, store.blocks, inode);
}

}  // namespace

Ext4Tree::Ext4Tree(std::unique_ptr<Filesystem> filesystem, const TreeOptions& options)
    : writable_(options.writable),
      filesystem_(std::move(filesystem)),
      store_(std::make_unique<TreeStore>(*filesystem_, TreeClock(options.time))) {}

Ext4Tree::~Ext4Tree() = default;

Result<std::shared_ptr<Ext4Tree>> Ext4Tree::Open(std::shared_ptr<Device> device, const TreeOptions& options,
                                                 const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem,
                            Filesystem::Open(std::move(device), {.writable = options.writable}, context));
  if (options.writable) {
    ROOTLOOM_RETURN_IF_ERROR(CheckCanBeChanged(*filesystem));
    ROOTLOOM_RETURN_IF_ERROR(filesystem->ReadBitmaps());
    if (options.time.has_value()) filesystem->SetTime(options.time->seconds);
  }
  return std::shared_ptr<Ext4Tree>(new Ext4Tree(std::move(filesystem), options));
}

Result<Ext4Tree::Session> Ext4Tree::Enter(Purpose purpose, const CallContext& context) {
  std::unique_lock lock(mutex_);
  if (!turn_.wait(lock, context.stop, [this] { return !busy_; })) return Status::Cancelled("use the tree");
  busy_ = true;
  lock.unlock();
  Session session(this);
  if (filesystem_ == nullptr) return Status::Invalid("use the tree", "it is closed");
  const std::string path = filesystem_->device().name();
  // A change is not cut off in the middle of a transfer: it looks at the stop token where it can still be undone.
  filesystem_->SetContext({});
  if (purpose == Purpose::kChange) {
    if (!writable_) {
      return Failure{.kind = StatusKind::kIo,
                     .operation = "change the files of",
                     .detail = "the tree was opened for reading, open it as writable",
                     .path = path,
                     .error_number = EROFS};
    }
    if (damage_.has_value()) return *damage_;
  }
  ROOTLOOM_RETURN_IF_ERROR(store_->directories.Shrink());
  if (purpose == Purpose::kRead) filesystem_->SetContext(context);
  return session;
}

Result<FileStat> Ext4Tree::Stat(const std::string& path, LastLink last, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(session.store(), path, last));
  ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, session.store().inodes.Load(place.inode));
  return session.store().inodes.StatOf(inode);
}

Result<std::vector<ListedFile>> Ext4Tree::List(const std::string& path, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  TreeStore& store = session.store();
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(store, path, LastLink::kFollow));
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, store.directories.List(place.inode));
  std::vector<ListedFile> files;
  files.reserve(entries.size());
  for (const DirectoryEntry& entry : entries) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("list a directory"));
    ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, store.inodes.Load(entry.inode));
    files.push_back({.name = entry.name, .type = inode.type(), .inode = entry.inode});
  }
  return files;
}

Result<std::string> Ext4Tree::ReadSymlink(const std::string& path, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(session.store(), path, LastLink::kKeep));
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, session.store().inodes.Load(place.inode));
  if (inode.type() != FileType::kSymlink) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = "read the symbolic link",
                   .detail = "it is no symbolic link",
                   .path = path,
                   .error_number = EINVAL};
  }
  return ReadLink(session.store(), inode);
}

Result<std::vector<std::byte>> Ext4Tree::ReadFile(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes,
                                                  const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(ContentReader reader, OpenContent(session.store(), path));
  const uint64_t rest_bytes = reader.size_bytes() - std::min(offset_bytes, reader.size_bytes());
  length_bytes = std::min(length_bytes, rest_bytes);
  if (length_bytes > kMaxReadBytes) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = "read",
                   .detail = std::to_string(length_bytes) + " bytes are more than the " +
                             std::to_string(kMaxReadBytes) + " that can be read at once, copy it out or read parts",
                   .path = path,
                   .error_number = EFBIG};
  }
  std::vector<std::byte> content(length_bytes);
  for (uint64_t done = 0; done < length_bytes;) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("read a file"));
    const auto chunk = std::span(content).subspan(done, std::min<uint64_t>(kChunkBytes, length_bytes - done));
    ROOTLOOM_ASSIGN_OR_RETURN(const size_t count, reader.Read(offset_bytes + done, chunk));
    done += count;
  }
  return content;
}

Result<uint64_t> Ext4Tree::CopyOut(const std::string& path, int host_fd, const std::string& host_path,
                                   const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(ContentReader reader, OpenContent(session.store(), path));
  std::vector<std::byte> buffer(std::min<uint64_t>(kChunkBytes, reader.size_bytes()));
  for (const ContentRange& range : reader.StoredRanges()) {
    for (uint64_t done = 0; done < range.length_bytes;) {
      ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("copy a file out"));
      const auto chunk = std::span(buffer).first(std::min<uint64_t>(buffer.size(), range.length_bytes - done));
      const uint64_t offset = range.offset_bytes + done;
      ROOTLOOM_ASSIGN_OR_RETURN(const size_t count, reader.Read(offset, chunk));
      ROOTLOOM_RETURN_IF_ERROR(PwriteAll(host_fd, chunk.first(count), offset, host_path));
      done += count;
      context.report({.step = "copy out", .done = offset + count, .total = reader.size_bytes()});
    }
  }
  if (::ftruncate(host_fd, static_cast<off_t>(reader.size_bytes())) != 0) {
    return Status::Errno("set the size of", host_path, errno);
  }
  return reader.size_bytes();
}

Result<std::vector<Xattr>> Ext4Tree::Xattrs(const std::string& path, LastLink last, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(session.store(), path, last));
  return session.store().xattrs.List(place.inode);
}

Result<std::shared_ptr<TreeWalk>> Ext4Tree::StartWalk(const std::string& path, WalkDetail detail,
                                                      const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(TreeWalk walk, TreeWalk::Start(session.store(), path, detail, change_count_));
  return std::make_shared<TreeWalk>(std::move(walk));
}

Result<std::vector<WalkEntry>> Ext4Tree::NextOfWalk(TreeWalk& walk, size_t max_count, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  if (walk.tree_version() != change_count_) {
    return Status::Invalid("walk the tree", "the tree was changed during the walk, walk first and change afterwards");
  }
  return walk.Next(session.store(), max_count, context);
}

}  // namespace rootloom
