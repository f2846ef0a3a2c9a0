#include "native/ext4/rebuild/extent_tree.h"

#include <array>

#include "native/ext4/mkfs.h"

namespace rootloom {

namespace {

constexpr size_t kEntryBytes = sizeof(ext3_extent);
static_assert(sizeof(ext3_extent) == sizeof(ext3_extent_idx) && sizeof(ext3_extent) == sizeof(ext3_extent_header));
constexpr size_t kEntriesInInode = sizeof(ext2_inode::i_block) / kEntryBytes - 1;
constexpr size_t kEntriesInBlock = kMkfsBlockBytes / kEntryBytes - 1;

// What a node holds: extents or places of nodes, both of one size and with the file's block first.
struct Entry {
  uint32_t file_block;
  std::array<std::byte, kEntryBytes> bytes;
};

template <typename Record>
Entry MakeEntry(uint32_t file_block, const Record& record) {
  Entry entry{.file_block = file_block, .bytes = {}};
  std::memcpy(entry.bytes.data(), &record, sizeof record);
  return entry;
}

Entry EntryOf(const FileRun& run) {
  const auto length = static_cast<uint16_t>(run.written ? run.block_count : run.block_count + EXT_INIT_MAX_LEN);
  return MakeEntry(static_cast<uint32_t>(run.file_block),
                   ext3_extent{.ee_block = static_cast<uint32_t>(run.file_block),
                               .ee_len = length,
                               .ee_start_hi = static_cast<uint16_t>(run.device_block >> 32),
                               .ee_start = static_cast<uint32_t>(run.device_block)});
}

Entry EntryOf(uint32_t file_block, uint64_t node_block) {
  return MakeEntry(file_block, ext3_extent_idx{.ei_block = file_block,
                                               .ei_leaf = static_cast<uint32_t>(node_block),
                                               .ei_leaf_hi = static_cast<uint16_t>(node_block >> 32),
                                               .ei_unused = 0});
}

void PutNode(std::span<std::byte> node, std::span<const Entry> entries, size_t capacity, uint16_t depth) {
  const ext3_extent_header header{.eh_magic = EXT3_EXT_MAGIC,
                                  .eh_entries = static_cast<uint16_t>(entries.size()),
                                  .eh_max = static_cast<uint16_t>(capacity),
                                  .eh_depth = depth,
                                  .eh_generation = 0};
  std::fill(node.begin(), node.end(), std::byte{0});
  std::memcpy(node.data(), &header, sizeof header);
  for (size_t i = 0; i < entries.size(); ++i) {
    std::memcpy(node.data() + (i + 1) * kEntryBytes, entries[i].bytes.data(), kEntryBytes);
  }
}

}  // namespace

uint64_t ExtentTreeBlocks(uint64_t extent_count) {
  uint64_t blocks = 0;
  while (extent_count > kEntriesInInode) {
    extent_count = (extent_count + kEntriesInBlock - 1) / kEntriesInBlock;
    blocks += extent_count;
  }
  return blocks;
}

Status BuildExtentTree(Filesystem& filesystem, NewInode& inode, const std::vector<FileRun>& runs, Space& space,
                       BlockWriter& writer) {
  std::vector<Entry> entries;
  entries.reserve(runs.size());
  for (const FileRun& run : runs) {
    inode.block_count += run.block_count;
    entries.push_back(EntryOf(run));
  }
  uint16_t depth = 0;
  std::array<std::byte, kMkfsBlockBytes> node;
  for (; entries.size() > kEntriesInInode; ++depth) {
    std::vector<Entry> above;
    for (size_t first = 0; first < entries.size(); first += kEntriesInBlock) {
      const auto part = std::span(entries).subspan(first, std::min(kEntriesInBlock, entries.size() - first));
      PutNode(node, part, kEntriesInBlock, depth);
      ROOTLOOM_ASSIGN_OR_RETURN(const BlockRange place, space.TakeMetadata(1));
      ROOTLOOM_RETURN_IF_ERROR(
          filesystem.Check(ext2fs_extent_block_csum_set(filesystem.raw(), inode.number(),
                                                        reinterpret_cast<ext3_extent_header*>(node.data())),
                           "write the extents of"));
      ROOTLOOM_RETURN_IF_ERROR(writer.Put(place.start * kMkfsBlockBytes, node));
      inode.block_count += 1;
      above.push_back(EntryOf(part.front().file_block, place.start));
    }
    entries = std::move(above);
  }
  inode.fields().i_flags |= EXT4_EXTENTS_FL;
  PutNode(std::as_writable_bytes(std::span(inode.fields().i_block)), entries, kEntriesInInode, depth);
  return Status::Ok();
}

}  // namespace rootloom
