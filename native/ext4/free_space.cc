#include "native/ext4/free_space.h"

#include "native/ext4/engine/run.h"
#include "native/ext4/resizable.h"

namespace rootloom {

namespace {

constexpr uint64_t kKernelShare = 50;
constexpr uint64_t kKernelBlocks = 4096;
constexpr uint64_t kStepBytes = 4096;

struct Layout {
  uint64_t group_count = 0;
  uint64_t descriptor_blocks = 0;
  uint64_t reserved_descriptor_blocks = 0;
};

uint64_t DivideUp(uint64_t value, uint64_t divisor) { return (value + divisor - 1) / divisor; }

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
  uint64_t blocks = 0;
  for (uint64_t first = fs->super->s_first_meta_bg * run; first < group_count; first += run) {
    const uint64_t groups = std::min(run, group_count - first);
    blocks += groups == run ? std::min<uint64_t>(run, 3) : std::min<uint64_t>(groups, 2);
  }
  return blocks;
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

uint64_t AvailableBytesAt(ext2_filsys fs, uint64_t size_bytes) {
  const uint64_t wanted_blocks = size_bytes / fs->blocksize;
  if (wanted_blocks <= fs->super->s_first_data_block) return 0;
  const uint64_t block_count = rootloom_adjusted_size(fs, wanted_blocks);
  const uint64_t first = fs->super->s_first_data_block;
  const uint64_t used = ext2fs_blocks_count(fs->super) - first - ext2fs_free_blocks_count(fs->super);
  const uint64_t content = used - std::min(used, MetadataBlocks(fs, CurrentLayout(fs)));
  const uint64_t taken = content + MetadataBlocks(fs, LayoutAt(fs, block_count));
  const uint64_t room = block_count - first;
  return AvailableBytes(fs, block_count, room - std::min(room, taken));
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
  uint64_t enough = request.largest_bytes / kStepBytes;
  const uint64_t possible_bytes = AvailableBytesAt(fs, enough * kStepBytes);
  if (possible_bytes < request.available_bytes) {
    return RefuseResize(StatusKind::kNoSpace, *filesystem,
                        "of " + std::to_string(request.largest_bytes) + " bytes " + std::to_string(possible_bytes) +
                            " would be free, " + std::to_string(request.available_bytes) + " are wanted");
  }
  for (uint64_t too_few = 0; enough - too_few > 1;) {
    const uint64_t middle = too_few + (enough - too_few) / 2;
    (AvailableBytesAt(fs, middle * kStepBytes) >= request.available_bytes ? enough : too_few) = middle;
  }
  return enough * kStepBytes;
}

}  // namespace rootloom
