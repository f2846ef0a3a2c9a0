#include "native/ext4/tree_blocks.h"

#include <cerrno>

namespace rootloom {

namespace {

// The head of an extent tree as it lies in an inode, and one extent in it.
struct ExtentHeader {
  uint16_t magic;
  uint16_t entry_count;
  uint16_t max_entry_count;
  uint16_t depth;
  uint32_t generation;
};
struct ExtentRecord {
  uint32_t file_block;
  uint16_t block_count;
  uint16_t device_block_high;
  uint32_t device_block_low;
};
struct InodeExtents {
  ExtentHeader header;
  ExtentRecord records[BlockStore::kRunsInInode];
};
static_assert(sizeof(ExtentHeader) == 12 && sizeof(ExtentRecord) == 12);
static_assert(sizeof(InodeExtents) == sizeof(ext2_inode::i_block));
constexpr uint16_t kExtentMagic = 0xf30a;
constexpr uint64_t kMaxFileBlocks = 0xffffffff;

void AppendRun(std::vector<FileRun>& runs, const FileRun& run) {
  if (!runs.empty()) {
    FileRun& last = runs.back();
    if (last.file_block + last.block_count == run.file_block &&
        last.device_block + last.block_count == run.device_block && last.written == run.written) {
      last.block_count += run.block_count;
      return;
    }
  }
  runs.push_back(run);
}

int CollectMappedBlock(ext2_filsys, blk64_t* device_block, e2_blkcnt_t file_block, blk64_t, int, void* runs) {
  AppendRun(*static_cast<std::vector<FileRun>*>(runs),
            {.file_block = static_cast<uint64_t>(file_block), .device_block = *device_block, .block_count = 1});
  return 0;
}

struct ExtentHandle {
  ext2_extent_handle_t handle = nullptr;
  ~ExtentHandle() {
    if (handle != nullptr) ext2fs_extent_free(handle);
  }
};

}  // namespace

Result<std::vector<FileRun>> BlockStore::ExtentRuns(Inode& inode) {
  ExtentHandle extents;
  ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(
      ext2fs_extent_open2(filesystem_.raw(), inode.number, inode.base(), &extents.handle), "read the extents of"));
  std::vector<FileRun> runs;
  ext2fs_extent extent;
  errcode_t code = ext2fs_extent_get(extents.handle, EXT2_EXTENT_ROOT, &extent);
  while (code == 0) {
    if ((extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) != 0) {
      AppendRun(runs, {.file_block = extent.e_lblk,
                       .device_block = extent.e_pblk,
                       .block_count = extent.e_len,
                       .written = (extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) == 0});
    }
    code = ext2fs_extent_get(extents.handle, EXT2_EXTENT_NEXT, &extent);
  }
  if (code == EXT2_ET_EXTENT_NO_NEXT) code = 0;
  // An empty tree has no root entry to get.
  if (code == EXT2_ET_NO_CURRENT_NODE || code == EXT2_ET_EXTENT_NOT_FOUND) code = 0;
  ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(code, "read the extents of"));
  return runs;
}

Result<std::vector<FileRun>> BlockStore::MappedRuns(Inode& inode) {
  std::vector<FileRun> runs;
  ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(
      ext2fs_block_iterate3(filesystem_.raw(), inode.number, BLOCK_FLAG_DATA_ONLY | BLOCK_FLAG_READ_ONLY, nullptr,
                            CollectMappedBlock, &runs),
      "read the block map of"));
  return runs;
}

Result<std::vector<FileRun>> BlockStore::RunsOf(Inode& inode) {
  if ((inode.raw.i_flags & EXT4_INLINE_DATA_FL) != 0 ||
      ext2fs_inode_has_valid_blocks2(filesystem_.raw(), inode.base()) == 0) {
    return std::vector<FileRun>();
  }
  Result<std::vector<FileRun>> runs =
      (inode.raw.i_flags & EXT4_EXTENTS_FL) != 0 ? ExtentRuns(inode) : MappedRuns(inode);
  if (!runs.ok()) return runs;
  const uint64_t end = ext2fs_blocks_count(filesystem_.raw()->super);
  uint64_t next_file_block = 0;
  for (const FileRun& run : *runs) {
    if (run.device_block >= end || run.block_count > end - run.device_block || run.file_block < next_file_block) {
      return Status::Corrupt("read the extents of inode " + std::to_string(inode.number),
                             "they overlap or lie beyond the end of the filesystem");
    }
    next_file_block = run.file_block + run.block_count;
  }
  return runs;
}

Result<FileRun> BlockStore::Allocate(uint64_t block_count) {
  ext2_filsys fs = filesystem_.raw();
  blk64_t start = 0;
  blk64_t length = 0;
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_new_range(fs, 0, goal_, block_count, nullptr, &start, &length), "find free blocks in"));
  const FileRun run{.device_block = start, .block_count = std::min<uint64_t>(length, block_count)};
  ext2fs_block_alloc_stats_range(fs, run.device_block, static_cast<blk_t>(run.block_count), +1);
  goal_ = run.device_block + run.block_count;
  return run;
}

Status BlockStore::Trim(uint64_t device_block, uint64_t block_count) {
  return filesystem_.Check(io_channel_discard(filesystem_.raw()->io, device_block, block_count),
                           "trim freed blocks of");
}

Status BlockStore::Free(const FileRun& run) {
  ext2fs_block_alloc_stats_range(filesystem_.raw(), run.device_block, static_cast<blk_t>(run.block_count), -1);
  return Trim(run.device_block, run.block_count);
}

Status BlockStore::SetRuns(Inode& inode, const std::vector<FileRun>& runs) {
  ext2_filsys fs = filesystem_.raw();
  uint64_t block_count = 0;
  for (const FileRun& run : runs) block_count += run.block_count;
  inode.raw.i_flags |= EXT4_EXTENTS_FL;
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_iblk_add_blocks(fs, inode.base(), block_count), "count the blocks of a file in"));

  InodeExtents extents{.header = {.magic = kExtentMagic, .max_entry_count = kRunsInInode}};
  const bool fits = runs.size() <= kRunsInInode;
  for (size_t i = 0; fits && i < runs.size(); ++i) {
    extents.records[i] = {.file_block = static_cast<uint32_t>(runs[i].file_block),
                          .block_count = static_cast<uint16_t>(runs[i].block_count),
                          .device_block_high = static_cast<uint16_t>(runs[i].device_block >> 32),
                          .device_block_low = static_cast<uint32_t>(runs[i].device_block)};
    extents.header.entry_count += 1;
  }
  std::memcpy(inode.raw.i_block, &extents, sizeof extents);
  if (fits) return Status::Ok();

  // The checksum of a block of extents covers the inode's generation, which libext2fs reads from the device.
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_write_inode(fs, inode.number, inode.base()), "write the extents of"));
  ExtentHandle tree;
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_extent_open2(fs, inode.number, inode.base(), &tree.handle), "write the extents of"));
  for (const FileRun& run : runs) {
    ext2fs_extent extent{.e_pblk = run.device_block,
                         .e_lblk = run.file_block,
                         .e_len = static_cast<uint32_t>(run.block_count),
                         .e_flags = 0};
    ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(ext2fs_extent_insert(tree.handle, EXT2_EXTENT_INSERT_AFTER, &extent),
                                               "write the extents of"));
  }
  return Status::Ok();
}

Status BlockStore::SetSize(Inode& inode, uint64_t size_bytes) {
  if (size_bytes > kMaxFileBlocks * block_bytes()) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = "write a file in",
                   .detail = "its size of " + std::to_string(size_bytes) + " bytes is more than ext4 can hold",
                   .path = filesystem_.device().name(),
                   .error_number = EFBIG};
  }
  return filesystem_.Check(
      ext2fs_inode_size_set(filesystem_.raw(), inode.base(), static_cast<ext2_off64_t>(size_bytes)),
      "set the size of a file in");
}

Status BlockStore::Truncate(Inode& inode, uint64_t file_block) {
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<FileRun> runs, RunsOf(inode));
  if (runs.empty()) return Status::Ok();
  ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(
      ext2fs_punch(filesystem_.raw(), inode.number, inode.base(), nullptr, file_block, ~0ULL), "free blocks of"));
  for (FileRun run : runs) {
    if (run.file_block + run.block_count <= file_block) continue;
    if (run.file_block < file_block) {
      const uint64_t kept = file_block - run.file_block;
      run.device_block += kept;
      run.block_count -= kept;
    }
    ROOTLOOM_RETURN_IF_ERROR(Trim(run.device_block, run.block_count));
  }
  return Status::Ok();
}

Status BlockStore::Read(uint64_t device_block, uint64_t block_count, std::byte* buffer) {
  return filesystem_.Check(
      io_channel_read_blk64(filesystem_.raw()->io, device_block, static_cast<int>(block_count), buffer), "read");
}

Status BlockStore::Write(uint64_t device_block, uint64_t block_count, const std::byte* data) {
  return filesystem_.Check(
      io_channel_write_blk64(filesystem_.raw()->io, device_block, static_cast<int>(block_count), data), "write");
}

}  // namespace rootloom
