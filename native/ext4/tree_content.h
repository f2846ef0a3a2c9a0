// Content of files: written as a stream in which zeros become holes, read at any offset.
#pragma once

#include <span>
#include <vector>

#include "native/ext4/tree_blocks.h"
#include "native/ext4/tree_inode.h"

namespace rootloom {

// Writes the content of one file, in ascending order, in bounded memory. A block of zeros takes no space, whether it
// was written or skipped.
//
// blocks must outlive it. Unless Finish succeeds, the destructor gives back every block that was taken.
class ContentWriter {
 public:
  explicit ContentWriter(BlockStore& blocks);
  ~ContentWriter();
  ContentWriter(const ContentWriter&) = delete;
  ContentWriter& operator=(const ContentWriter&) = delete;

  // REQUIRES: offset_bytes is not below the end of what was written before. What lies between is zeros.
  Status Write(uint64_t offset_bytes, std::span<const std::byte> data);

  // Makes what was written the content of inode, which has none, and whose size becomes size_bytes. The caller saves
  // the inode afterwards. REQUIRES: nothing was written beyond size_bytes.
  Status Finish(Inode& inode, uint64_t size_bytes);

 private:
  static constexpr size_t kBufferBytes = 1 << 20;

  Status FlushBuffer();
  Status WriteBlocks(uint64_t file_block, std::span<const std::byte> data);
  bool IsZeroBlock(size_t index) const;

  BlockStore& blocks_;
  const size_t block_bytes_;
  std::vector<std::byte> buffer_;
  uint64_t buffer_start_bytes_ = 0;  // a multiple of the block size
  size_t buffered_bytes_ = 0;
  std::vector<FileRun> runs_;
  bool finished_ = false;
};

// Reads the content of one file: regular, or a symbolic link. It sees the file as it was at Open.
class ContentReader {
 public:
  static Result<ContentReader> Open(Filesystem& filesystem, BlockStore& blocks, Inode& inode);

  uint64_t size_bytes() const { return size_bytes_; }
  // Fills buffer as far as the file reaches, and gives the number of bytes; 0 at or beyond the end.
  Result<size_t> Read(uint64_t offset_bytes, std::span<std::byte> buffer);
  // The parts of the file that are stored, in ascending order, at block granularity but not beyond the end; the rest
  // are holes.
  std::vector<ContentRange> StoredRanges() const;

 private:
  ContentReader(BlockStore& blocks, uint64_t size_bytes) : blocks_(&blocks), size_bytes_(size_bytes) {}
  Status ReadRun(const FileRun& run, uint64_t offset_bytes, std::span<std::byte> buffer);

  BlockStore* blocks_;
  uint64_t size_bytes_;
  std::vector<FileRun> runs_;
  std::vector<std::byte> inside_inode_;  // content of which there are no runs
};

}  // namespace rootloom
