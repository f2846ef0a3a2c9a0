#include "native/ext4/rebuild/demand.h"

#include "native/ext4/mkfs.h"
#include "native/ext4/rebuild/directories.h"
#include "native/ext4/rebuild/extent_tree.h"
#include "native/ext4/stats.h"

namespace rootloom {

namespace {

constexpr uint64_t kStepBytes = 1 << 20;
constexpr uint64_t kLostAndFoundBlocks = 4;
constexpr uint64_t kMaximumBytes = uint64_t{16} << 40;
// The blocks of one group, in which a file's content may be cut in two by the group's own metadata.
constexpr uint64_t kGroupBlocks = 32768;

uint64_t ContentBlocks(const std::vector<FileRun>& runs, uint32_t source_block_bytes) {
  uint64_t blocks = 0;
  uint64_t extents = 0;
  for (const Segment& segment : SegmentsOf(runs, source_block_bytes)) {
    const uint64_t count = segment.end_block - segment.first_block;
    blocks += count;
    extents += 1 + 2 * (count / kGroupBlocks);
  }
  return blocks + ExtentTreeBlocks(extents);
}

// Blocks of the new filesystem for everything but its own tables. Where the exact number depends on the layout, it is
// the largest possible.
Result<uint64_t> DemandedBlocks(Filesystem& source, const CallContext& context) {
  BlockStore store(source);
  uint64_t blocks = kLostAndFoundBlocks;
  ROOTLOOM_RETURN_IF_ERROR(ForEachInode(source, context, [&](const ScannedInode& from) -> Status {
    Inode inode{.number = from.number};
    std::memcpy(&inode.raw, from.raw.data(), sizeof inode.raw);
    const bool is_inline = (inode.raw.i_flags & EXT4_INLINE_DATA_FL) != 0;
    if (ext2fs_file_acl_block(source.raw(), inode.base()) != 0 || is_inline ||
        EXT2_INODE_SIZE(source.raw()->super) > sizeof(ext2_inode_large) + 96) {
      blocks += 1;
    }
    if (!from.is_attribute() && inode.is_directory()) {
      ROOTLOOM_ASSIGN_OR_RETURN(const NamedEntries named, ReadEntries(source, from.number));
      blocks += MostDirectoryBlocks(named.entries);
      return Status::Ok();
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<FileRun> runs, store.RunsOf(inode));
    blocks += is_inline ? 1 : ContentBlocks(runs, source.raw()->blocksize);
    return Status::Ok();
  }));
  return blocks;
}

// The free bytes of an empty filesystem of size_bytes, or nothing when there can be none.
Result<uint64_t> FreeWhenEmpty(uint64_t size_bytes, uint64_t file_count, const ScratchDeviceFactory& make_scratch,
                               const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const std::shared_ptr<Device> scratch, make_scratch(size_bytes));
  MkfsRequest request{.time = 1, .least_inode_count = InodeCountFor(file_count), .without_directories = true};
  const Result<uint64_t> made = MakeFilesystem(scratch, request, context);
  if (!made.ok()) {
    const Status status = made.status();
    if (status.failure().kind == StatusKind::kNoSpace && status.failure().error_number == 0) return uint64_t{0};
    return status;
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const Ext4Stats stats, ReadStats(scratch, context));
  return stats.free_bytes;
}

}  // namespace

uint32_t InodeCountFor(uint64_t file_count) {
  const uint64_t count = file_count + file_count / 8 + 32;
  return static_cast<uint32_t>(std::min<uint64_t>(count, UINT32_MAX));
}

Result<uint64_t> FindRebuiltSize(Filesystem& source, const Survey& survey, uint64_t free_bytes,
                                 const ScratchDeviceFactory& make_scratch, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t demand_blocks, DemandedBlocks(source, context));
  const uint64_t wanted_bytes = demand_blocks * kMkfsBlockBytes + free_bytes;
  const auto fits = [&](uint64_t size_bytes) -> Result<bool> {
    ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t free, FreeWhenEmpty(size_bytes, survey.file_count, make_scratch, context));
    return free >= wanted_bytes;
  };
  const auto to_step = [](uint64_t bytes) { return (bytes + kStepBytes - 1) / kStepBytes * kStepBytes; };
  // Halves the range until it is one step: low does not fit, high does.
  uint64_t low = std::max(to_step(wanted_bytes), kMinimumExt4Bytes) - kStepBytes;
  uint64_t high = low + kStepBytes;
  for (uint64_t more = std::max(to_step(low / 16), 8 * kStepBytes);; more *= 2) {
    if (high > kMaximumBytes) {
      return Status::Unsupported("rebuild", "it would be larger than " + std::to_string(kMaximumBytes) + " bytes");
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const bool enough, fits(high));
    if (enough) break;
    low = high;
    high += more;
  }
  while (high - low > kStepBytes) {
    const uint64_t middle = low + to_step((high - low) / 2);
    if (middle >= high) break;
    ROOTLOOM_ASSIGN_OR_RETURN(const bool enough, fits(middle));
    (enough ? high : low) = middle;
  }
  return high;
}

}  // namespace rootloom
