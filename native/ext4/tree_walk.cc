#include "native/ext4/tree_walk.h"

#include "native/ext4/tree.h"
#include "native/ext4/tree_lookup.h"
#include "native/util/verity_digest.h"

namespace rootloom {

namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr uint64_t kBatchContentBytes = 64 << 20;

}  // namespace

std::string WalkStartOf(std::string_view path) {
  std::string start;
  for (const std::string& component : SplitPath(path)) {
    if (component != ".") start += "/" + component;
  }
  return start.empty() ? "/" : start;
}

Result<WalkCursor> WalkCursor::Start(TreeStore& store, const std::string& path, WalkDetail detail,
                                     uint64_t tree_version) {
  WalkCursor walk(detail, tree_version);
  ROOTLOOM_ASSIGN_OR_RETURN(const Place place, ResolveExisting(store, path, LastLink::kKeep));
  walk.start_path_ = WalkStartOf(path);
  walk.start_inode_ = place.inode;
  return walk;
}

Result<std::vector<WalkEntry>> WalkCursor::Next(TreeStore& store, size_t max_count, const CallContext& context) {
  std::vector<WalkEntry> entries;
  content_bytes_ = 0;
  if (start_inode_ != 0) {
    const ext2_ino_t start = std::exchange(start_inode_, 0);
    ROOTLOOM_ASSIGN_OR_RETURN(WalkEntry entry, Visit(store, start_path_, start, context));
    entries.push_back(std::move(entry));
  }
  while (!levels_.empty() && entries.size() < max_count && content_bytes_ < kBatchContentBytes) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("walk the tree"));
    Level& level = levels_.back();
    if (level.next == level.entries.size()) {
      levels_.pop_back();
      continue;
    }
    const DirectoryEntry& next = level.entries[level.next++];
    ROOTLOOM_ASSIGN_OR_RETURN(WalkEntry entry, Visit(store, level.path + next.name, next.inode, context));
    entries.push_back(std::move(entry));
  }
  file_count_ += entries.size();
  context.report({.step = "walk the tree", .done = file_count_});
  return entries;
}

Result<WalkEntry> WalkCursor::Visit(TreeStore& store, std::string path, ext2_ino_t number, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store.inodes.Load(number));
  WalkEntry entry{.path = std::move(path), .stat = store.inodes.StatOf(inode)};
  if (entry.stat.type == FileType::kSymlink) {
    ROOTLOOM_ASSIGN_OR_RETURN(entry.link_target, ReadLink(store, inode));
  }
  if (entry.stat.type != FileType::kDirectory && entry.stat.link_count > 1) {
    const auto [first, is_first] = first_paths_.emplace(number, entry.path);
    if (!is_first) entry.hard_link = first->second;
  }
  if (detail_ == WalkDetail::kDigest) ROOTLOOM_RETURN_IF_ERROR(Examine(store, inode, entry, context));
  if (entry.stat.type == FileType::kDirectory) ROOTLOOM_RETURN_IF_ERROR(Enter(store, entry.path, number));
  return entry;
}

Status WalkCursor::Enter(TreeStore& store, const std::string& path, ext2_ino_t directory) {
  for (const Level& level : levels_) {
    if (level.directory == directory) return Status::Corrupt("walk the tree", path + " lies below itself");
  }
  ROOTLOOM_ASSIGN_OR_RETURN(std::vector<DirectoryEntry> entries, store.directories.List(directory));
  levels_.push_back({path == "/" ? path : path + "/", directory, std::move(entries)});
  return Status::Ok();
}

Status WalkCursor::Examine(TreeStore& store, Inode& inode, WalkEntry& entry, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(entry.xattrs, store.xattrs.List(inode.number));
  if (entry.stat.type != FileType::kRegular) return Status::Ok();
  ROOTLOOM_ASSIGN_OR_RETURN(ContentReader reader, ContentReader::Open(store.filesystem, store.blocks, inode));
  entry.stored = reader.StoredRanges();
  VerityDigest digest;
  uint64_t position = 0;
  std::vector<std::byte> buffer(std::min<uint64_t>(kChunkBytes, reader.size_bytes()));
  for (const ContentRange& range : entry.stored) {
    const uint64_t end = range.offset_bytes + range.length_bytes;
    if (position < range.offset_bytes) {
      digest.UpdateZeros(range.offset_bytes - position);
      position = range.offset_bytes;
    }
    while (position < end) {
      ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("read the content of files"));
      const std::span<std::byte> wanted = std::span(buffer).first(std::min<uint64_t>(buffer.size(), end - position));
      ROOTLOOM_ASSIGN_OR_RETURN(const size_t count, reader.Read(position, wanted));
      digest.Update(wanted.first(count));
      position += count;
      content_bytes_ += count;
      context.report({.step = "walk the tree", .done = file_count_});
    }
  }
  digest.UpdateZeros(reader.size_bytes() - position);
  entry.content_digest = digest.TakeHex();
  return Status::Ok();
}

}  // namespace rootloom
