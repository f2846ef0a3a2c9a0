#include "native/ext4/free_space.h"

#include <optional>

#include "native/ext4/engine/run.h"
#include "native/ext4/resizable.h"

namespace rootloom {

namespace {

constexpr uint64_t kKernelShare = 50;
constexpr uint64_t kKernelBlocks = 4096;
constexpr uint64_t kStepBytes = 4096;
// What is kept for root and by the kernel is rounded: from one size to another it can be so many blocks less than its
// shares say.
constexpr uint64_t kRoundingBlocks = 3;
constexpr uint64_t kGroupsBetweenStops = 4096;

struct Layout {
  uint64_t group_count = 0;
  uint64_t descriptor_blocks = 0;
  uint64_t reserved_descriptor_blocks = 0;
};

uint64_t DivideUp(uint64_t value, uint64_t divisor) { return (value + divisor - 1) / divisor; }

uint64_t ToStep(uint64_t bytes) { return DivideUp(bytes, kStepBytes) * kStepBytes; }

Layout CurrentLayout(ext2_filsys fs) {
  return {fs->group_desc_count, fs->desc_blocks, fs->super->s_reserved_gdt_blocks};
}

// As resize2fs lays it out: descriptors take the place of the blocks that are reserved for them.
Layout LayoutAt(ext2_filsys fs, uint64_t block_count) {
  Layout layout = CurrentLayout(fs);
  layout.group_count = DivideUp(block_count - fs->super->s_first_data_block, fs->super->s_blocks_per_group);
  layout.descriptor_blocks = DivideUp(layout.group_count, EXT2_DESC_PER_BLOCK(fs->super));
  if (!ext2fs_has_feature_resize_inode(fs->super)) return layout;
  const uint64_t both = layout.reserved_descriptor_blocks + fs->desc_blocks;
  const uint64_t reserved = both - std::min(both, layout.descriptor_blocks);
  if (layout.descriptor_blocks != fs->desc_blocks) {
    layout.reserved_descriptor_blocks = std::min<uint64_t>(reserved, fs->blocksize / 4);
  }
  return layout;
}

uint64_t CountPowers(uint64_t base, uint64_t below) {
  uint64_t count = 0;
  for (uint64_t power = base; power < below; power *= base) ++count;
  return count;
}

// How many of the groups have a copy of the superblock.
uint64_t CopyCount(ext2_filsys fs, uint64_t group_count) {
  if (ext2fs_has_feature_sparse_super2(fs->super)) {
    uint64_t count = 1;
    for (const uint32_t group : fs->super->s_backup_bgs) count += group != 0 ? 1 : 0;
    return std::min(count, group_count);
  }
  if (!ext2fs_has_feature_sparse_super(fs->super)) return group_count;
  return std::min<uint64_t>(group_count, 2) + CountPowers(3, group_count) + CountPowers(5, group_count) +
         CountPowers(7, group_count);
}

// With meta_bg the descriptors of each run of groups lie in its first, second and last one.
uint64_t MetaDescriptorBlocks(ext2_filsys fs, uint64_t group_count) {
  const uint64_t run = EXT2_DESC_PER_BLOCK(fs->super);
  const uint64_t first = fs->super->s_first_meta_bg * run;
  if (group_count <= first) return 0;
  const uint64_t groups = group_count - first;
  return groups / run * std::min<uint64_t>(run, 3) + std::min<uint64_t>(groups % run, 2);
}

// What the groups take for themselves.
uint64_t MetadataBlocks(ext2_filsys fs, const Layout& layout) {
  const bool is_meta_bg = ext2fs_has_feature_meta_bg(fs->super);
  const uint64_t descriptors =
      is_meta_bg ? fs->super->s_first_meta_bg : layout.descriptor_blocks + layout.reserved_descriptor_blocks;
  const uint64_t copies = CopyCount(fs, layout.group_count) * (1 + descriptors);
  const uint64_t tables = layout.group_count * (2 + uint64_t{fs->inode_blocks_per_group});
  return copies + tables + (is_meta_bg ? MetaDescriptorBlocks(fs, layout.group_count) : 0);
}

// The blocks that the filesystem has when it is made so large.
uint64_t BlocksAt(ext2_filsys fs, uint64_t size_bytes) {
  const uint64_t wanted_blocks = size_bytes / fs->blocksize;
  return wanted_blocks <= fs->super->s_first_data_block ? 0 : rootloom_adjusted_size(fs, wanted_blocks);
}

uint64_t AvailableBytesAt(ext2_filsys fs, uint64_t size_bytes) {
  const uint64_t block_count = BlocksAt(fs, size_bytes);
  if (block_count == 0) return 0;
  const uint64_t first = fs->super->s_first_data_block;
  const uint64_t used = ext2fs_blocks_count(fs->super) - first - ext2fs_free_blocks_count(fs->super);
  const uint64_t content = used - std::min(used, MetadataBlocks(fs, CurrentLayout(fs)));
  const uint64_t taken = content + MetadataBlocks(fs, LayoutAt(fs, block_count));
  const uint64_t room = block_count - first;
  return AvailableBytes(fs, block_count, room - std::min(room, taken));
}

struct SizeRange {
  uint64_t first_bytes = 0;
  uint64_t last_bytes = 0;
};

// The sizes from first_bytes to the last at which there are no more groups.
SizeRange SizesOfGroup(ext2_filsys fs, uint64_t first_bytes, uint64_t largest_bytes) {
  const uint64_t first_data_block = fs->super->s_first_data_block;
  const uint64_t blocks = std::max(first_bytes / fs->blocksize, first_data_block + 1);
  const uint64_t groups = DivideUp(blocks - first_data_block, fs->super->s_blocks_per_group);
  const uint64_t end_bytes = (first_data_block + groups * fs->super->s_blocks_per_group) * fs->blocksize;
  return {first_bytes, std::max(first_bytes, std::min(end_bytes / kStepBytes * kStepBytes, largest_bytes))};
}

// The smallest of these sizes, all of one group, at which so much is available. A block more of size is at most a block
// more of room, so what is missing is not found before that much has been added.
std::optional<uint64_t> SmallestInGroup(ext2_filsys fs, const SizeRange& sizes, uint64_t wanted_bytes) {
  const uint64_t slack_bytes = kRoundingBlocks * fs->blocksize;
  for (uint64_t size_bytes = sizes.first_bytes; size_bytes <= sizes.last_bytes;) {
    const uint64_t available_bytes = AvailableBytesAt(fs, size_bytes);
    if (available_bytes >= wanted_bytes) return size_bytes;
    const uint64_t missing_bytes = wanted_bytes - available_bytes;
    const uint64_t enough_bytes = BlocksAt(fs, size_bytes) * fs->blocksize + missing_bytes;
    size_bytes = std::max(size_bytes + kStepBytes, ToStep(enough_bytes - std::min(enough_bytes, slack_bytes)));
  }
  return std::nullopt;
}

}  // namespace

uint64_t AvailableBytes(ext2_filsys fs, uint64_t block_count, uint64_t free_blocks) {
  // resize2fs keeps the share of the reserved blocks, by this very computation.
  const double percent = static_cast<double>(ext2fs_r_blocks_count(fs->super)) * 100.0 /
                         static_cast<double>(ext2fs_blocks_count(fs->super));
  const uint64_t for_root = block_count == ext2fs_blocks_count(fs->super)
                                ? ext2fs_r_blocks_count(fs->super)
                                : static_cast<uint64_t>(percent * static_cast<double>(block_count) / 100.0);
  const uint64_t for_kernel =
      ext2fs_has_feature_extents(fs->super) ? std::min(block_count / kKernelShare, kKernelBlocks) : uint64_t{0};
  return (free_blocks - std::min(free_blocks, for_root + for_kernel)) * fs->blocksize;
}

Result<uint64_t> SizeForFreeSpace(std::shared_ptr<Device> device, const FreeSpaceRequest& request,
                                  const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, OpenForResize(std::move(device), false, context));
  ext2_filsys fs = filesystem->raw();
  const uint64_t possible_bytes = std::min(request.largest_bytes, LargestResizeTarget(fs) * fs->blocksize);
  const uint64_t largest_bytes = possible_bytes / kStepBytes * kStepBytes;
  const uint64_t smallest_bytes = ToStep(std::max(request.smallest_bytes, kStepBytes));
  uint64_t most_bytes = 0;
  uint64_t best_size_bytes = largest_bytes;
  uint64_t group_count = 0;
  for (uint64_t next_bytes = std::min(smallest_bytes, largest_bytes); next_bytes <= largest_bytes;) {
    const SizeRange sizes = SizesOfGroup(fs, next_bytes, largest_bytes);
    const uint64_t available_bytes = AvailableBytesAt(fs, sizes.last_bytes);
    if (available_bytes + kRoundingBlocks * fs->blocksize >= request.available_bytes) {
      const auto found = SmallestInGroup(fs, sizes, request.available_bytes);
      if (found) return *found;
    }
    if (available_bytes > most_bytes) {
      most_bytes = available_bytes;
      best_size_bytes = sizes.last_bytes;
    }
    next_bytes = sizes.last_bytes + kStepBytes;
    if (++group_count % kGroupsBetweenStops == 0) ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kResizeOperation));
  }
  return RefuseResize(StatusKind::kNoSpace, *filesystem,
                      "at most " + std::to_string(most_bytes) + " bytes can be free, at a size of " +
                          std::to_string(best_size_bytes) + ", " + std::to_string(request.available_bytes) +
                          " are wanted");
}

}  // namespace rootloom
