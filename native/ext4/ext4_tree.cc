#include "native/ext4/ext4_tree.h"

#include <cerrno>

#include "native/ext4/ext4_tree_session.h"
#include "native/ext4/tree_content.h"
#include "native/ext4/tree_lookup.h"
#include "native/ext4/tree_walk.h"

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

Result<uint64_t> Ext4Tree::ReadContent(const std::string& path, ContentRange range, ContentSink& sink,
                                       const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(ContentReader reader, OpenContent(session.store(), path));
  const uint64_t begin = std::min(range.offset_bytes, reader.size_bytes());
  const uint64_t end = begin + std::min(range.length_bytes, reader.size_bytes() - begin);
  ROOTLOOM_RETURN_IF_ERROR(sink.Begin(end - begin));
  std::vector<std::byte> buffer(std::min<uint64_t>(kChunkBytes, end - begin));
  for (const ContentRange& stored : reader.StoredRanges()) {
    const uint64_t stop = std::min(end, stored.offset_bytes + stored.length_bytes);
    for (uint64_t offset = std::max(begin, stored.offset_bytes); offset < stop;) {
      ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("read a file"));
      const auto chunk = std::span(buffer).first(std::min<uint64_t>(buffer.size(), stop - offset));
      ROOTLOOM_ASSIGN_OR_RETURN(const size_t count, reader.Read(offset, chunk));
      ROOTLOOM_RETURN_IF_ERROR(sink.Put(offset, chunk.first(count)));
      offset += count;
    }
  }
  return reader.size_bytes();
}

Result<std::vector<Xattr>> Ext4Tree::Xattrs(const std::string& path, LastLink last, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(session.store(), path, last));
  return session.store().xattrs.List(place.inode);
}

class Ext4Tree::Walk final : public TreeWalk {
 public:
  Walk(std::shared_ptr<Ext4Tree> tree, WalkCursor cursor) : tree_(std::move(tree)), cursor_(std::move(cursor)) {}

  Result<std::vector<WalkEntry>> Next(size_t max_count, const CallContext& context) override {
    ROOTLOOM_ASSIGN_OR_RETURN(Session session, tree_->Enter(Purpose::kRead, context));
    if (cursor_.tree_version() != tree_->change_count_) {
      return Status::Invalid("walk the tree", "the tree was changed during the walk, walk first and change afterwards");
    }
    return cursor_.Next(session.store(), max_count, context);
  }

 private:
  const std::shared_ptr<Ext4Tree> tree_;
  WalkCursor cursor_;
};

Result<std::shared_ptr<TreeWalk>> Ext4Tree::StartWalk(const std::string& path, WalkDetail detail,
                                                      const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Session session, Enter(Purpose::kRead, context));
  ROOTLOOM_ASSIGN_OR_RETURN(WalkCursor cursor, WalkCursor::Start(session.store(), path, detail, change_count_));
  return std::shared_ptr<TreeWalk>(std::make_shared<Walk>(shared_from_this(), std::move(cursor)));
}

}  // namespace rootloom
