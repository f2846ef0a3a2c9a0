#include "native/ext4/rebuild/directories.h"

#include "native/ext4/mkfs.h"
#include "native/ext4/rebuild/extent_tree.h"

namespace rootloom {

namespace {

constexpr size_t kDotBytes = 12;
// What a leaf of a large directory is filled with at least, and what a block without an index can take.
constexpr size_t kLeafBytes = kMkfsBlockBytes - sizeof(ext2_dir_entry_tail);
constexpr size_t kLeastLeafBytes = kLeafBytes * 80 / 100 - 264;
constexpr uint64_t kEntriesInNode = 500;
// e2fsck must find room in it without allocating.
constexpr size_t kLostAndFoundBytes = 16384;

int CollectEntry(ext2_ino_t, int, ext2_dir_entry* record, int, int, char*, void* data) {
  auto& named = *static_cast<NamedEntries*>(data);
  const std::string_view name(record->name, static_cast<size_t>(ext2fs_dirent_name_len(record)));
  if (name == ".") return 0;
  if (name == "..") {
    named.parent = record->inode;
  } else {
    named.entries.push_back({.name = std::string(name),
                             .inode = record->inode,
                             .type = static_cast<uint8_t>(ext2fs_dirent_file_type(record))});
  }
  return 0;
}

Status NoSuchFile(ext2_ino_t directory, ext2_ino_t number) {
  return Status::Corrupt("rebuild directory inode " + std::to_string(directory),
                         "it names inode " + std::to_string(number) + ", which is no file; check and repair it first");
}

}  // namespace

Result<NamedEntries> ReadEntries(Filesystem& source, ext2_ino_t directory) {
  NamedEntries named;
  ROOTLOOM_RETURN_IF_ERROR(source.Check(ext2fs_dir_iterate2(source.raw(), directory, 0, nullptr, CollectEntry, &named),
                                        "read a directory of"));
  return named;
}

uint64_t MostDirectoryBlocks(const std::vector<DirectoryEntry>& entries) {
  uint64_t list_bytes = 2 * kDotBytes;
  for (const DirectoryEntry& entry : entries) list_bytes += EXT2_DIR_REC_LEN(static_cast<uint8_t>(entry.name.size()));
  if (list_bytes <= kLeafBytes) return 1;
  const uint64_t leaves = (list_bytes + kLeastLeafBytes - 1) / kLeastLeafBytes;
  return 1 + leaves + leaves / kEntriesInNode + 1;
}

Result<NamedEntries> DirectoryCopy::Translate(ext2_ino_t from) {
  ROOTLOOM_ASSIGN_OR_RETURN(NamedEntries named, ReadEntries(source_, from));
  const auto parent = survey_.numbers.Find(named.parent);
  if (!parent) return NoSuchFile(from, named.parent);
  named.parent = *parent;
  for (DirectoryEntry& entry : named.entries) {
    const auto number = survey_.numbers.Find(entry.inode);
    if (!number) return NoSuchFile(from, entry.inode);
    entry.inode = *number;
    if (*number < survey_.types.size()) entry.type = survey_.types[*number];
  }
  return named;
}

Status DirectoryCopy::PadLostAndFound(DirectoryBlocks& blocks) {
  ext2_filsys fs = target_.raw();
  while (!blocks.indexed && blocks.bytes.size() < kLostAndFoundBytes) {
    char* block = nullptr;
    ROOTLOOM_RETURN_IF_ERROR(target_.Check(ext2fs_new_dir_block(fs, 0, 0, &block), "make lost+found in"));
    const auto* bytes = reinterpret_cast<const std::byte*>(block);
    blocks.bytes.insert(blocks.bytes.end(), bytes, bytes + kMkfsBlockBytes);
    ext2fs_free_mem(&block);
  }
  return Status::Ok();
}

Status DirectoryCopy::Build(ext2_ino_t from, NewInode& inode, Space& space, BlockWriter& writer) {
  ext2_filsys fs = target_.raw();
  ROOTLOOM_ASSIGN_OR_RETURN(NamedEntries named, Translate(from));
  const bool ignores_case = (inode.fields().i_flags & EXT4_CASEFOLD_FL) != 0;
  ROOTLOOM_ASSIGN_OR_RETURN(
      DirectoryBlocks blocks,
      BuildDirectoryBlocks(target_, {inode.number(), named.parent, ignores_case}, std::move(named.entries)));
  if (from == survey_.numbers.lost_and_found()) ROOTLOOM_RETURN_IF_ERROR(PadLostAndFound(blocks));

  inode.fields().i_flags &= ~static_cast<uint32_t>(EXT2_INDEX_FL);
  if (blocks.indexed) inode.fields().i_flags |= EXT2_INDEX_FL;
  ROOTLOOM_RETURN_IF_ERROR(
      target_.Check(ext2fs_inode_size_set(fs, inode.base(), static_cast<ext2_off64_t>(blocks.bytes.size())),
                    "set the size of a directory in"));
  std::vector<FileRun> runs;
  const uint64_t block_count = blocks.bytes.size() / kMkfsBlockBytes;
  for (uint64_t block = 0; block < block_count;) {
    ROOTLOOM_ASSIGN_OR_RETURN(const BlockRange range,
                              space.TakeMetadata(std::min<uint64_t>(block_count - block, EXT_INIT_MAX_LEN)));
    const auto part = std::span(blocks.bytes).subspan(block * kMkfsBlockBytes, range.count * kMkfsBlockBytes);
    for (size_t at = 0; at < part.size(); at += kMkfsBlockBytes) {
      ROOTLOOM_RETURN_IF_ERROR(target_.CheckStopped("write a directory of"));
      ROOTLOOM_RETURN_IF_ERROR(target_.Check(
          ext2fs_dir_block_csum_set(fs, inode.number(), reinterpret_cast<ext2_dir_entry*>(part.data() + at)),
          "write a directory of"));
    }
    ROOTLOOM_RETURN_IF_ERROR(writer.Put(range.start * kMkfsBlockBytes, part));
    runs.push_back({.file_block = block, .device_block = range.start, .block_count = range.count});
    block += range.count;
  }
  return BuildExtentTree(target_, inode, runs, space, writer);
}

}  // namespace rootloom
