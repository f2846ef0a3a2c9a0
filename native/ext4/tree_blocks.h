// Blocks of files: which are allocated where, taking new ones, and giving them back.
#pragma once

#include <functional>
#include <vector>

#include "native/ext4/filesystem.h"
#include "native/ext4/tree_inode.h"

namespace rootloom {

// block_count neighbouring blocks of a file that are neighbours on the device too.
struct FileRun {
  uint64_t file_block = 0;
  uint64_t device_block = 0;
  uint64_t block_count = 0;
  bool written = true;  // false: reserved for the file, and reads as zeros
};

// Not thread-safe. filesystem must outlive it.
class BlockStore {
 public:
  explicit BlockStore(Filesystem& filesystem) : filesystem_(filesystem) {}

  uint32_t block_bytes() const { return filesystem_.raw()->blocksize; }

  // The runs of an inode's content in ascending order, neighbours joined; what lies between them are holes. Empty for
  // what has no blocks: fast symbolic links, device nodes, content inside the inode.
  Result<std::vector<FileRun>> RunsOf(Inode& inode);

  // Takes up to block_count free neighbours, near where the last ones were taken. Gives at least one, fails with
  // kNoSpace when there is none.
  Result<FileRun> Allocate(uint64_t block_count);
  // Gives back blocks that no inode names. Their content on the device is trimmed, so that it is not stored with it.
  Status Free(const FileRun& run);
  // Makes the content of blocks that libext2fs has freed unwanted on the device.
  Status Trim(uint64_t device_block, uint64_t block_count);

  // Makes runs the whole content map of inode, which has none yet: extents and block count. The caller saves the inode
  // afterwards. REQUIRES: ascending runs, each at most kMaxRunBlocks.
  Status SetRuns(Inode& inode, const std::vector<FileRun>& runs);
  static constexpr uint64_t kMaxRunBlocks = 32768;
  static constexpr size_t kRunsInInode = 4;

  // Sets the size in the inode, and in the superblock that large files exist when this is the first. Does not save.
  Status SetSize(Inode& inode, uint64_t size_bytes);

  // Frees all content of inode, from file_block on. Saves the inode with its new block count; the size is not changed.
  Status Truncate(Inode& inode, uint64_t file_block = 0);

  Status Read(uint64_t device_block, uint64_t block_count, std::byte* buffer);
  Status Write(uint64_t device_block, uint64_t block_count, const std::byte* data);

 private:
  Result<std::vector<FileRun>> ExtentRuns(Inode& inode);
  Result<std::vector<FileRun>> MappedRuns(Inode& inode);

  Filesystem& filesystem_;
  uint64_t goal_ = 0;  // where the next search for free blocks begins
};

}  // namespace rootloom
