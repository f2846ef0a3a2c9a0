#include "native/ext4/resizable.h"

#include "native/ext4/stats.h"

namespace rootloom {

namespace {

constexpr uint64_t kMaximumBytes = uint64_t{16} << 40;

// resize2fs trusts these numbers: it counts with them, and finds its place in tables by them. A sum that is too large
// would send it beyond their ends, or round for ever (tytso/e2fsprogs#94).
bool CountsArePossible(ext2_filsys fs) {
  const bool has_checksums = ext2fs_has_group_desc_csum(fs) != 0;
  const uint32_t inodes = fs->super->s_inodes_per_group;
  uint64_t used_inodes = 0;
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    const uint32_t free_inodes = ext2fs_bg_free_inodes_count(fs, group);
    const auto blocks = static_cast<uint32_t>(ext2fs_group_blocks_count(fs, group));
    if (free_inodes > inodes || ext2fs_bg_free_blocks_count(fs, group) > blocks) return false;
    if (has_checksums && ext2fs_bg_itable_unused(fs, group) > inodes) return false;
    if (has_checksums && !ext2fs_group_desc_csum_verify(fs, group)) return false;
    used_inodes += inodes - free_inodes;
  }
  return used_inodes >= EXT2_FIRST_INODE(fs->super) - 1;
}

// Without meta_bg the first group holds the descriptors of all.
uint64_t MaxDescriptorBlocks(ext2_filsys fs) {
  return fs->super->s_blocks_per_group - std::min(fs->super->s_blocks_per_group, fs->super->s_first_data_block);
}

}  // namespace

Failure RefuseResize(StatusKind kind, Filesystem& filesystem, std::string detail) {
  return {.kind = kind, .operation = kResizeOperation, .detail = std::move(detail), .path = filesystem.device().name()};
}

Result<std::unique_ptr<Filesystem>> OpenForResize(std::shared_ptr<Device> device, bool writable,
                                                  const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, Filesystem::Open(std::move(device), {.writable = writable}, context));
  ext2_filsys fs = filesystem->raw();
  const ext2_super_block& super = *fs->super;
  if ((super.s_state & EXT2_ERROR_FS) != 0 || (super.s_state & EXT2_VALID_FS) == 0) {
    return RefuseResize(StatusKind::kCorrupt, *filesystem, "it is not clean, check and repair it first");
  }
  if (super.s_last_orphan != 0 || ext2fs_has_feature_orphan_present(fs->super)) {
    return RefuseResize(StatusKind::kUnsupported, *filesystem, "it has orphaned inodes, replay its journal first");
  }
  if ((super.s_feature_compat & ~EXT2_LIB_FEATURE_COMPAT_SUPP) != 0) {
    return RefuseResize(StatusKind::kUnsupported, *filesystem, "it has features that this version does not know");
  }
  if (ext2fs_has_feature_bigalloc(fs->super)) {
    return RefuseResize(StatusKind::kUnsupported, *filesystem,
                        "it has the feature bigalloc, which cannot be resized safely");
  }
  ROOTLOOM_RETURN_IF_ERROR(filesystem->Check(ext2fs_check_desc(fs), "read the group descriptors of"));
  if (!CountsArePossible(fs)) {
    return RefuseResize(StatusKind::kCorrupt, *filesystem,
                        "its group descriptors are wrong, check and repair it first");
  }
  RefreshFreeCounts(fs);
  return filesystem;
}

uint64_t LargestResizeTarget(ext2_filsys fs) {
  uint64_t blocks = kMaximumBytes / fs->blocksize;
  if (!ext2fs_has_feature_64bit(fs->super)) blocks = std::min<uint64_t>(blocks, UINT32_MAX);
  uint64_t groups = UINT32_MAX / fs->super->s_inodes_per_group;
  if (!ext2fs_has_feature_meta_bg(fs->super)) {
    groups = std::min(groups, MaxDescriptorBlocks(fs) * EXT2_DESC_PER_BLOCK(fs->super));
  }
  return std::min(blocks, groups * fs->super->s_blocks_per_group);
}

Status CheckResizeTarget(Filesystem& filesystem, uint64_t target_blocks) {
  ext2_filsys fs = filesystem.raw();
  if (target_blocks * fs->blocksize > filesystem.device().size_bytes()) {
    return RefuseResize(StatusKind::kInvalidArgument, filesystem,
                        "the device has " + std::to_string(filesystem.device().size_bytes()) + " bytes, " +
                            std::to_string(target_blocks * fs->blocksize) + " are wanted");
  }
  if (std::max<uint64_t>(target_blocks, ext2fs_blocks_count(fs->super)) > kMaximumBytes / fs->blocksize) {
    return RefuseResize(StatusKind::kUnsupported, filesystem,
                        "it is or would be larger than " + std::to_string(kMaximumBytes) + " bytes");
  }
  if (target_blocks > UINT32_MAX && !ext2fs_has_feature_64bit(fs->super)) {
    return RefuseResize(StatusKind::kUnsupported, filesystem,
                        "without the feature 64bit it cannot have more than 2^32 - 1 blocks");
  }
  if (target_blocks < ext2fs_blocks_count(fs->super) && ext2fs_has_feature_stable_inodes(fs->super)) {
    return RefuseResize(StatusKind::kUnsupported, filesystem,
                        "it has the feature stable_inodes, which forbids shrinking");
  }
  if (!ext2fs_has_feature_meta_bg(fs->super)) {
    const uint64_t groups = (target_blocks + fs->super->s_blocks_per_group - 1) / fs->super->s_blocks_per_group;
    const uint64_t descriptor_blocks = (groups + EXT2_DESC_PER_BLOCK(fs->super) - 1) / EXT2_DESC_PER_BLOCK(fs->super);
    if (descriptor_blocks > MaxDescriptorBlocks(fs)) {
      return RefuseResize(StatusKind::kUnsupported, filesystem,
                          "its group descriptors would not fit into the first block group at that size");
    }
  }
  return Status::Ok();
}

}  // namespace rootloom
