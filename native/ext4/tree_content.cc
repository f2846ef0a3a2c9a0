#include "native/ext4/tree_content.h"

#include "native/util/file_io.h"

namespace rootloom {

ContentWriter::ContentWriter(BlockStore& blocks) : blocks_(blocks), block_bytes_(blocks.block_bytes()) {}

ContentWriter::~ContentWriter() {
  if (finished_) return;
  // What cannot be given back stays allocated; the caller already reports the failure that led here.
  for (const FileRun& run : runs_) (void)blocks_.Free(run);
}

Status ContentWriter::Write(uint64_t offset_bytes, std::span<const std::byte> data) {
  if (data.empty()) return Status::Ok();
  if (offset_bytes > buffer_start_bytes_ + buffered_bytes_) {
    const uint64_t start_of_block = offset_bytes - offset_bytes % block_bytes_;
    if (start_of_block >= buffer_start_bytes_ + kBufferBytes) {
      ROOTLOOM_RETURN_IF_ERROR(FlushBuffer());
      buffer_start_bytes_ = start_of_block;
    }
  }
  while (!data.empty()) {
    const size_t start = static_cast<size_t>(offset_bytes - buffer_start_bytes_);
    const size_t count = std::min(data.size(), kBufferBytes - start);
    // Growing the buffer fills what was skipped with zeros.
    if (buffer_.size() < start + count) buffer_.resize(start + count);
    std::memcpy(buffer_.data() + start, data.data(), count);
    buffered_bytes_ = start + count;
    offset_bytes += count;
    data = data.subspan(count);
    if (buffered_bytes_ == kBufferBytes) ROOTLOOM_RETURN_IF_ERROR(FlushBuffer());
  }
  return Status::Ok();
}

bool ContentWriter::IsZeroBlock(size_t index) const {
  return IsAllZero(std::span(buffer_).subspan(index * block_bytes_, block_bytes_));
}

Status ContentWriter::FlushBuffer() {
  const size_t block_count = (buffered_bytes_ + block_bytes_ - 1) / block_bytes_;
  buffer_.resize(block_count * block_bytes_);
  for (size_t first = 0; first < block_count;) {
    if (IsZeroBlock(first)) {
      ++first;
      continue;
    }
    size_t end = first + 1;
    while (end < block_count && !IsZeroBlock(end)) ++end;
    ROOTLOOM_RETURN_IF_ERROR(
        WriteBlocks(buffer_start_bytes_ / block_bytes_ + first,
                    std::span(buffer_).subspan(first * block_bytes_, (end - first) * block_bytes_)));
    first = end;
  }
  buffer_start_bytes_ += block_count * block_bytes_;
  buffered_bytes_ = 0;
  buffer_.clear();
  return Status::Ok();
}

Status ContentWriter::WriteBlocks(uint64_t file_block, std::span<const std::byte> data) {
  while (!data.empty()) {
    ROOTLOOM_ASSIGN_OR_RETURN(FileRun run, blocks_.Allocate(data.size() / block_bytes_));
    run.file_block = file_block;
    FileRun* last = runs_.empty() ? nullptr : &runs_.back();
    if (last != nullptr && last->file_block + last->block_count == run.file_block &&
        last->device_block + last->block_count == run.device_block &&
        last->block_count + run.block_count <= BlockStore::kMaxRunBlocks) {
      last->block_count += run.block_count;
    } else {
      runs_.push_back(run);
    }
    ROOTLOOM_RETURN_IF_ERROR(blocks_.Write(run.device_block, run.block_count, data.data()));
    file_block += run.block_count;
    data = data.subspan(run.block_count * block_bytes_);
  }
  return Status::Ok();
}

Status ContentWriter::Finish(Inode& inode, uint64_t size_bytes) {
  ROOTLOOM_RETURN_IF_ERROR(FlushBuffer());
  ROOTLOOM_RETURN_IF_ERROR(blocks_.SetSize(inode, size_bytes));
  ROOTLOOM_RETURN_IF_ERROR(blocks_.SetRuns(inode, runs_));
  finished_ = true;
  return Status::Ok();
}

Result<ContentReader> ContentReader::Open(Filesystem& filesystem, BlockStore& blocks, Inode& inode) {
  // The blocks of a file are numbered with 32 bits.
  if ((inode.size_bytes() - 1) / filesystem.raw()->blocksize > UINT32_MAX && inode.size_bytes() != 0) {
    return Status::Corrupt("read the content of inode " + std::to_string(inode.number),
                           "its size is " + std::to_string(inode.size_bytes()) + ", more than a file can have");
  }
  ContentReader reader(blocks, inode.size_bytes());
  if ((inode.raw.i_flags & EXT4_INLINE_DATA_FL) != 0) {
    // The attribute area that continues inline content ends with the inode, which is no larger than a block.
    reader.inside_inode_.resize(filesystem.raw()->blocksize);
    size_t count = 0;
    ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(
        ext2fs_inline_data_get(filesystem.raw(), inode.number, inode.base(), reader.inside_inode_.data(), &count),
        "read the content of"));
    reader.inside_inode_.resize(std::min<uint64_t>(count, reader.size_bytes_));
    return reader;
  }
  if (inode.type() == FileType::kSymlink && ext2fs_is_fast_symlink(inode.base())) {
    const auto* text = reinterpret_cast<const std::byte*>(inode.raw.i_block);
    reader.inside_inode_.assign(text, text + reader.size_bytes_);
    return reader;
  }
  ROOTLOOM_ASSIGN_OR_RETURN(reader.runs_, blocks.RunsOf(inode));
  return reader;
}

Result<size_t> ContentReader::Read(uint64_t offset_bytes, std::span<std::byte> buffer) {
  if (offset_bytes >= size_bytes_) return size_t{0};
  buffer = buffer.first(std::min<uint64_t>(buffer.size(), size_bytes_ - offset_bytes));
  std::fill(buffer.begin(), buffer.end(), std::byte{0});
  if (offset_bytes < inside_inode_.size()) {
    const size_t count = std::min<size_t>(buffer.size(), inside_inode_.size() - offset_bytes);
    std::memcpy(buffer.data(), inside_inode_.data() + offset_bytes, count);
  }
  const uint64_t first_block = offset_bytes / blocks_->block_bytes();
  auto run = std::partition_point(runs_.begin(), runs_.end(), [first_block](const FileRun& candidate) {
    return candidate.file_block + candidate.block_count <= first_block;
  });
  const uint64_t end_bytes = offset_bytes + buffer.size();
  for (; run != runs_.end() && run->file_block * blocks_->block_bytes() < end_bytes; ++run) {
    if (run->written) ROOTLOOM_RETURN_IF_ERROR(ReadRun(*run, offset_bytes, buffer));
  }
  return buffer.size();
}

// Reads the part of buffer that run covers. Whole blocks go straight into it, cut ones through a block of our own.
Status ContentReader::ReadRun(const FileRun& run, uint64_t offset_bytes, std::span<std::byte> buffer) {
  const uint64_t block_bytes = blocks_->block_bytes();
  const uint64_t run_start_bytes = run.file_block * block_bytes;
  uint64_t position = std::max(offset_bytes, run_start_bytes);
  const uint64_t end = std::min(offset_bytes + buffer.size(), run_start_bytes + run.block_count * block_bytes);
  std::vector<std::byte> block;
  while (position < end) {
    const uint64_t device_block = run.device_block + position / block_bytes - run.file_block;
    std::byte* target = buffer.data() + (position - offset_bytes);
    const uint64_t inside = position % block_bytes;
    if (inside == 0 && end - position >= block_bytes) {
      const uint64_t block_count = (end - position) / block_bytes;
      ROOTLOOM_RETURN_IF_ERROR(blocks_->Read(device_block, block_count, target));
      position += block_count * block_bytes;
      continue;
    }
    block.resize(block_bytes);
    const uint64_t count = std::min(end - position, block_bytes - inside);
    ROOTLOOM_RETURN_IF_ERROR(blocks_->Read(device_block, 1, block.data()));
    std::memcpy(target, block.data() + inside, count);
    position += count;
  }
  return Status::Ok();
}

std::vector<ContentRange> ContentReader::StoredRanges() const {
  std::vector<ContentRange> ranges;
  if (!inside_inode_.empty()) ranges.push_back({0, inside_inode_.size()});
  for (const FileRun& run : runs_) {
    const uint64_t start = run.file_block * blocks_->block_bytes();
    if (!run.written || start >= size_bytes_) continue;
    const uint64_t end = std::min(start + run.block_count * blocks_->block_bytes(), size_bytes_);
    if (!ranges.empty() && ranges.back().offset_bytes + ranges.back().length_bytes == start) {
      ranges.back().length_bytes += end - start;
    } else {
      ranges.push_back({start, end - start});
    }
  }
  return ranges;
}

}  // namespace rootloom
