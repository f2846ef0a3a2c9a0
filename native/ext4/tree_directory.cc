#include "native/ext4/tree_directory.h"

#include <cerrno>

namespace rootloom {

namespace {

struct ReadState {
  ext2_ino_t parent = 0;
  std::vector<DirectoryEntry> entries;
};

int CollectEntry(ext2_ino_t, int, ext2_dir_entry* record, int, int, char*, void* data) {
  auto& state = *static_cast<ReadState*>(data);
  const std::string_view name(record->name, static_cast<size_t>(ext2fs_dirent_name_len(record)));
  if (name == ".") return 0;
  if (name == "..") {
    state.parent = record->inode;
    return 0;
  }
  state.entries.push_back({.name = std::string(name),
                           .inode = record->inode,
                           .type = static_cast<uint8_t>(ext2fs_dirent_file_type(record))});
  return 0;
}

Status CheckName(std::string_view name) {
  const bool reserved = name.empty() || name == "." || name == "..";
  if (!reserved && name.size() <= kMaxNameBytes && name.find('/') == name.npos && name.find('\0') == name.npos) {
    return Status::Ok();
  }
  const bool too_long = name.size() > kMaxNameBytes;
  return Failure{.kind = StatusKind::kInvalidArgument,
                 .operation = "use the file name",
                 .detail = too_long ? "it is " + std::to_string(name.size()) + " bytes long, a name has at most 255"
                                    : "no file can have this name",
                 .path = std::string(name),
                 .error_number = too_long ? ENAMETOOLONG : EINVAL};
}

}  // namespace

Result<DirectoryStore::Directory*> DirectoryStore::Get(ext2_ino_t number) {
  const auto found = directories_.find(number);
  if (found != directories_.end()) return found->second.get();
  auto directory = std::make_unique<Directory>();
  ROOTLOOM_RETURN_IF_ERROR(Read(number, *directory));
  name_count_ += directory->names.size();
  return directories_.emplace(number, std::move(directory)).first->second.get();
}

Status DirectoryStore::Read(ext2_ino_t number, Directory& directory) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, inodes_.Load(number));
  if (!inode.is_directory()) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = "read a directory of",
                   .detail = "it is not a directory",
                   .path = filesystem_.device().name(),
                   .error_number = ENOTDIR};
  }
  ReadState state;
  ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(
      ext2fs_dir_iterate2(filesystem_.raw(), number, 0, nullptr, CollectEntry, &state), "read a directory of"));
  directory.parent = state.parent;
  directory.names.reserve(state.entries.size());
  for (DirectoryEntry& entry : state.entries) {
    // It would lead a reader elsewhere than into this directory.
    if (!CheckName(entry.name).ok()) {
      return Status::Corrupt("read directory inode " + std::to_string(number), "it has a name that no file can have");
    }
    const bool added = directory.names.emplace(std::move(entry.name), Target{entry.inode, entry.type}).second;
    if (!added) return Status::Corrupt("read directory inode " + std::to_string(number), "it has a name twice");
  }
  return Status::Ok();
}

Result<std::optional<DirectoryEntry>> DirectoryStore::FindEntry(ext2_ino_t number, std::string_view name) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Directory* directory, Get(number));
  const auto found = directory->names.find(name);
  if (found == directory->names.end()) return std::optional<DirectoryEntry>();
  return std::optional(
      DirectoryEntry{.name = std::string(name), .inode = found->second.inode, .type = found->second.type});
}

Result<std::optional<ext2_ino_t>> DirectoryStore::Find(ext2_ino_t number, std::string_view name) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Directory* directory, Get(number));
  const auto found = directory->names.find(name);
  if (found == directory->names.end()) return std::optional<ext2_ino_t>();
  return std::optional(found->second.inode);
}

Result<std::vector<DirectoryEntry>> DirectoryStore::List(ext2_ino_t number) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Directory* directory, Get(number));
  std::vector<DirectoryEntry> entries;
  entries.reserve(directory->names.size());
  for (const auto& [name, target] : directory->names) {
    entries.push_back({.name = name, .inode = target.inode, .type = target.type});
  }
  // std::string compares as unsigned bytes.
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  return entries;
}

Result<bool> DirectoryStore::IsEmpty(ext2_ino_t number) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Directory* directory, Get(number));
  return directory->names.empty();
}

Result<ext2_ino_t> DirectoryStore::ParentOf(ext2_ino_t number) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Directory* directory, Get(number));
  return directory->parent;
}

Status DirectoryStore::Put(ext2_ino_t number, DirectoryEntry entry) {
  ROOTLOOM_RETURN_IF_ERROR(CheckName(entry.name));
  ROOTLOOM_ASSIGN_OR_RETURN(Directory * directory, Get(number));
  const Target target{entry.inode, entry.type};
  if (directory->names.insert_or_assign(std::move(entry.name), target).second) name_count_ += 1;
  directory->changed = true;
  return Status::Ok();
}

Status DirectoryStore::Erase(ext2_ino_t number, std::string_view name) {
  ROOTLOOM_ASSIGN_OR_RETURN(Directory * directory, Get(number));
  const auto found = directory->names.find(name);
  if (found == directory->names.end()) return Status::Errno("remove", std::string(name), ENOENT);
  directory->names.erase(found);
  directory->changed = true;
  name_count_ -= 1;
  return Status::Ok();
}

Status DirectoryStore::SetParent(ext2_ino_t number, ext2_ino_t parent) {
  ROOTLOOM_ASSIGN_OR_RETURN(Directory * directory, Get(number));
  directory->parent = parent;
  directory->changed = true;
  return Status::Ok();
}

void DirectoryStore::AddEmpty(ext2_ino_t number, ext2_ino_t parent) {
  auto directory = std::make_unique<Directory>();
  directory->parent = parent;
  directory->changed = true;
  directories_.insert_or_assign(number, std::move(directory));
}

void DirectoryStore::Forget(ext2_ino_t number) {
  const auto found = directories_.find(number);
  if (found == directories_.end()) return;
  name_count_ -= found->second->names.size();
  directories_.erase(found);
}

Status DirectoryStore::Flush() {
  std::vector<ext2_ino_t> changed;
  for (const auto& [number, directory] : directories_) {
    if (directory->changed) changed.push_back(number);
  }
  std::sort(changed.begin(), changed.end());
  for (const ext2_ino_t number : changed) {
    Directory& directory = *directories_.at(number);
    ROOTLOOM_RETURN_IF_ERROR(Write(number, directory));
    directory.changed = false;
  }
  return Status::Ok();
}

Status DirectoryStore::Shrink() {
  if (name_count_ <= kMaxNamesInMemory) return Status::Ok();
  ROOTLOOM_RETURN_IF_ERROR(Flush());
  directories_.clear();
  name_count_ = 0;
  return Status::Ok();
}

Status DirectoryStore::Write(ext2_ino_t number, const Directory& directory) {
  std::vector<DirectoryEntry> entries;
  entries.reserve(directory.names.size());
  for (const auto& [name, target] : directory.names) {
    entries.push_back({.name = name, .inode = target.inode, .type = target.type});
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const DirectoryBlocks blocks,
                            BuildDirectoryBlocks(filesystem_, {number, directory.parent}, std::move(entries)));
  ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, inodes_.Load(number));
  ROOTLOOM_RETURN_IF_ERROR(WriteBlocks(inode, blocks));
  if (blocks.indexed) {
    inode.raw.i_flags |= EXT2_INDEX_FL;
  } else {
    inode.raw.i_flags &= ~static_cast<uint32_t>(EXT2_INDEX_FL);
  }
  ROOTLOOM_RETURN_IF_ERROR(blocks_.SetSize(inode, blocks.bytes.size()));
  return inodes_.Save(inode);
}

Status DirectoryStore::WriteBlocks(Inode& inode, const DirectoryBlocks& blocks) {
  ext2_filsys fs = filesystem_.raw();
  const size_t block_bytes = blocks_.block_bytes();
  const uint64_t block_count = blocks.bytes.size() / block_bytes;
  const uint64_t old_block_count = inode.size_bytes() / block_bytes;
  std::vector<char> block(block_bytes);
  std::vector<char> old_block(block_bytes);
  for (uint64_t i = 0; i < block_count; ++i) {
    blk64_t device_block = 0;
    ROOTLOOM_RETURN_IF_ERROR(
        filesystem_.Check(ext2fs_bmap2(fs, inode.number, inode.base(), nullptr, BMAP_ALLOC, i, nullptr, &device_block),
                          "find room for a directory in"));
    std::memcpy(block.data(), blocks.bytes.data() + i * block_bytes, block_bytes);
    auto* records = reinterpret_cast<ext2_dir_entry*>(block.data());
    ROOTLOOM_RETURN_IF_ERROR(
        filesystem_.Check(ext2fs_dir_block_csum_set(fs, inode.number, records), "write a directory of"));
    if (i < old_block_count) {
      ROOTLOOM_RETURN_IF_ERROR(blocks_.Read(device_block, 1, reinterpret_cast<std::byte*>(old_block.data())));
      if (old_block == block) continue;
    }
    ROOTLOOM_RETURN_IF_ERROR(blocks_.Write(device_block, 1, reinterpret_cast<const std::byte*>(block.data())));
  }
  return old_block_count > block_count ? blocks_.Truncate(inode, block_count) : Status::Ok();
}

}  // namespace rootloom
