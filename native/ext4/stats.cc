#include "native/ext4/stats.h"

#include <limits>

#include "native/ext4/filesystem.h"
#include "native/ext4/free_space.h"

namespace rootloom {

namespace {

struct FreeCounts {
  uint64_t blocks = 0;
  uint64_t inodes = 0;
};

FreeCounts SumOfGroups(ext2_filsys fs) {
  FreeCounts counts;
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    counts.blocks += static_cast<uint64_t>(ext2fs_bg_free_blocks_count(fs, group)) << fs->cluster_ratio_bits;
    counts.inodes += ext2fs_bg_free_inodes_count(fs, group);
  }
  return counts;
}

std::vector<std::string> FeatureNames(const ext2_super_block& super) {
  const std::array<std::pair<int, uint32_t>, 3> sets = {{{E2P_FEATURE_COMPAT, super.s_feature_compat},
                                                         {E2P_FEATURE_INCOMPAT, super.s_feature_incompat},
                                                         {E2P_FEATURE_RO_INCOMPAT, super.s_feature_ro_compat}}};
  std::vector<std::string> names;
  for (const auto& [set, bits] : sets) {
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
      if ((bits & bit) != 0) names.emplace_back(e2p_feature2string(set, bit));
    }
  }
  return names;
}

std::string ReasonNotClean(ext2_filsys fs, const Ext4Stats& stats, const FreeCounts& counts) {
  if (stats.needs_recovery) return "its journal is not replayed";
  if (stats.has_errors) return "it is marked as having errors";
  if ((fs->super->s_state & EXT2_VALID_FS) == 0) return "it was not unmounted";
  if (stats.has_orphans) return "it has orphaned inodes";
  if (ext2fs_check_desc(fs) != 0) return "its group descriptors contradict each other";
  if (ext2fs_has_group_desc_csum(fs)) {
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
      if (!ext2fs_group_desc_csum_verify(fs, group)) {
        return "the checksum of group descriptor " + std::to_string(group) + " is wrong";
      }
    }
  }
  if (counts.blocks != ext2fs_free_blocks_count(fs->super)) return "its count of free blocks is stale";
  if (counts.inodes != fs->super->s_free_inodes_count) return "its count of free inodes is stale";
  return "";
}

}  // namespace

void RefreshFreeCounts(ext2_filsys fs) {
  const FreeCounts counts = SumOfGroups(fs);
  ext2fs_free_blocks_count_set(fs->super, counts.blocks);
  fs->super->s_free_inodes_count = static_cast<uint32_t>(counts.inodes);
}

uint64_t MaxGrownBlocks(ext2_filsys fs) {
  const uint64_t descriptors_per_block = EXT2_DESC_PER_BLOCK(fs->super);
  uint64_t blocks =
      ext2fs_has_feature_64bit(fs->super) ? std::numeric_limits<uint64_t>::max() : std::numeric_limits<uint32_t>::max();
  const uint64_t groups_by_inodes = std::numeric_limits<uint32_t>::max() / fs->super->s_inodes_per_group;
  uint64_t groups = groups_by_inodes;
  if (!ext2fs_has_feature_meta_bg(fs->super)) {
    const uint64_t reserved =
        ext2fs_has_feature_resize_inode(fs->super) ? fs->super->s_reserved_gdt_blocks : uint64_t{0};
    groups = std::min(groups, (fs->desc_blocks + reserved) * descriptors_per_block);
  }
  return std::min(blocks, groups * fs->super->s_blocks_per_group + fs->super->s_first_data_block);
}

Result<Ext4Stats> ReadStats(std::shared_ptr<Device> device, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const auto filesystem,
                            Filesystem::Open(std::move(device), {.journal = JournalPolicy::kIgnored}, context));
  ext2_filsys fs = filesystem->raw();
  const ext2_super_block& super = *fs->super;
  const FreeCounts counts = SumOfGroups(fs);

  Ext4Stats stats;
  stats.block_size = fs->blocksize;
  stats.size_bytes = ext2fs_blocks_count(fs->super) * fs->blocksize;
  stats.reserved_bytes = ext2fs_r_blocks_count(fs->super) * fs->blocksize;
  const uint64_t free_bytes = counts.blocks * fs->blocksize;
  stats.free_bytes = free_bytes - std::min(free_bytes, stats.reserved_bytes);
  stats.available_bytes = AvailableBytes(fs, ext2fs_blocks_count(fs->super), counts.blocks);
  stats.used_bytes = stats.size_bytes - std::min(stats.size_bytes, free_bytes);
  stats.inode_count = super.s_inodes_count;
  stats.free_inode_count = static_cast<uint32_t>(counts.inodes);
  stats.max_grown_bytes = MaxGrownBlocks(fs) * fs->blocksize;
  std::copy(std::begin(super.s_uuid), std::end(super.s_uuid), stats.uuid.begin());
  const auto* label = reinterpret_cast<const char*>(super.s_volume_name);
  stats.label.assign(label, strnlen(label, sizeof super.s_volume_name));
  stats.features = FeatureNames(super);
  stats.needs_recovery = ext2fs_has_feature_journal_needs_recovery(fs->super);
  stats.has_errors = (super.s_state & EXT2_ERROR_FS) != 0;
  stats.has_orphans = super.s_last_orphan != 0 || ext2fs_has_feature_orphan_present(fs->super);
  stats.not_clean_reason = ReasonNotClean(fs, stats, counts);
  stats.clean = stats.not_clean_reason.empty();
  stats.created_time = ext2fs_get_tstamp(fs->super, s_mkfs_time);
  stats.mounted_time = ext2fs_get_tstamp(fs->super, s_mtime);
  stats.written_time = ext2fs_get_tstamp(fs->super, s_wtime);
  stats.checked_time = ext2fs_get_tstamp(fs->super, s_lastcheck);
  return stats;
}

}  // namespace rootloom
