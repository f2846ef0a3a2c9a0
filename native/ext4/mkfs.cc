#include "native/ext4/mkfs.h"

#include "native/ext4/engine.h"
#include "native/ext4/filesystem.h"

namespace rootloom {

namespace {

constexpr uint32_t kInodeSize = 256;
constexpr uint32_t kBytesPerInode = 16384;
constexpr uint32_t kLostAndFoundBytes = 16384;
constexpr uint32_t kLargestJournalBlocks = (64 << 20) / kMkfsBlockBytes;
constexpr const char* kOperation = "make an ext4 filesystem on";

Status CheckRequest(const Device& device, const MkfsRequest& request, uint64_t size_bytes) {
  Failure failure{.kind = StatusKind::kInvalidArgument, .operation = kOperation, .path = device.name()};
  if (size_bytes > device.size_bytes()) {
    failure.detail = "the device has " + std::to_string(device.size_bytes()) + " bytes, " + std::to_string(size_bytes) +
                     " are wanted";
    return failure;
  }
  if (request.label.size() > EXT2_LABEL_LEN) {
    failure.detail = "the label has " + std::to_string(request.label.size()) + " bytes, at most " +
                     std::to_string(EXT2_LABEL_LEN) + " are possible";
    return failure;
  }
  if (size_bytes < kMinimumExt4Bytes) {
    failure.kind = StatusKind::kTooSmall;
    failure.detail = std::to_string(size_bytes) + " bytes are too few, at least " + std::to_string(kMinimumExt4Bytes) +
                     " are needed";
    failure.minimum_bytes = kMinimumExt4Bytes;
    return failure;
  }
  return Status::Ok();
}

ext2_super_block Profile(uint64_t size_bytes, uint32_t least_inode_count) {
  ext2_super_block profile = {};
  profile.s_rev_level = EXT2_DYNAMIC_REV;
  profile.s_log_block_size = 2;  // 1024 << 2 is kMkfsBlockBytes
  profile.s_log_cluster_size = profile.s_log_block_size;
  profile.s_inode_size = kInodeSize;
  profile.s_log_groups_per_flex = 4;
  profile.s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
  profile.s_feature_compat = EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_EXT_ATTR |
                             EXT2_FEATURE_COMPAT_RESIZE_INODE | EXT2_FEATURE_COMPAT_DIR_INDEX;
  profile.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                               EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG;
  profile.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
                                EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
                                EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
  ext2fs_blocks_count_set(&profile, size_bytes / kMkfsBlockBytes);
  profile.s_inodes_count =
      std::max(static_cast<uint32_t>(std::min<uint64_t>(size_bytes / kBytesPerInode, UINT32_MAX)), least_inode_count);
  return profile;
}

void SetIdentity(ext2_filsys fs, const MkfsRequest& request) {
  ext2_super_block& super = *fs->super;
  std::copy(request.uuid.begin(), request.uuid.end(), super.s_uuid);
  std::memcpy(super.s_hash_seed, request.hash_seed.data(), sizeof super.s_hash_seed);
  std::memcpy(super.s_volume_name, request.label.data(), request.label.size());
  super.s_checksum_type = EXT2_CRC32C_CHKSUM;
  super.s_def_hash_version = EXT2_HASH_HALF_MD4;
  // e2fsprogs takes the sign of the machine's char; the bytes must not depend on the machine.
  super.s_flags = (super.s_flags & ~EXT2_FLAGS_UNSIGNED_HASH) | EXT2_FLAGS_SIGNED_HASH;
  super.s_max_mnt_count = -1;
  super.s_kbytes_written = 1;  // says that the kernel may count here
  ext2fs_set_tstamp(fs->super, s_mkfs_time, fs->now);
  ext2fs_set_tstamp(fs->super, s_lastcheck, fs->now);
  ext2fs_init_csum_seed(fs);
}

// All inode tables read as zeros, and say so, for the kernel not to zero them again. The reserved inodes need checksums
// even though nothing uses them.
errcode_t MakeInodeTables(ext2_filsys fs) {
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
    ext2fs_group_desc_csum_set(fs, group);
  }
  alignas(ext2_inode_large) std::array<std::byte, kInodeSize> inode = {};
  for (ext2_ino_t number = 1; number < EXT2_FIRST_INO(fs->super); ++number) {
    auto* empty = reinterpret_cast<ext2_inode*>(inode.data());
    const errcode_t code = ext2fs_write_inode_full(fs, number, empty, kInodeSize);
    if (code != 0) return code;
  }
  return 0;
}

errcode_t MakeDirectories(ext2_filsys fs) {
  errcode_t code = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, nullptr);
  if (code != 0) return code;
  fs->umask = 077;
  code = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
  fs->umask = 022;
  if (code != 0) return code;
  // e2fsck must find room in it without allocating.
  ext2_ino_t lost_and_found = 0;
  code = ext2fs_lookup(fs, EXT2_ROOT_INO, "lost+found", 10, nullptr, &lost_and_found);
  for (uint64_t size = kMkfsBlockBytes; code == 0 && size < kLostAndFoundBytes; size += kMkfsBlockBytes) {
    code = ext2fs_expand_dir(fs, lost_and_found);
  }
  return code;
}

errcode_t MakeReservedInodes(ext2_filsys fs) {
  for (ext2_ino_t number = EXT2_ROOT_INO + 1; number < EXT2_FIRST_INODE(fs->super); ++number) {
    ext2fs_inode_alloc_stats2(fs, number, +1, 0);
  }
  ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
  const errcode_t code = ext2fs_update_bb_inode(fs, nullptr);
  return code != 0 ? code : ext2fs_create_resize_inode(fs);
}

errcode_t MakeJournal(ext2_filsys fs, uint64_t overhead_blocks) {
  ext2fs_journal_params parameters = {};
  errcode_t code = ext2fs_get_journal_params(&parameters, fs);
  if (code != 0) return code;
  parameters.num_journal_blocks = std::min(parameters.num_journal_blocks, kLargestJournalBlocks);
  const blk64_t nearest_place = fs->super->s_first_data_block;
  code = ext2fs_add_journal_inode3(fs, &parameters, nearest_place, 0);
  fs->super->s_overhead_clusters = static_cast<uint32_t>(overhead_blocks + parameters.num_journal_blocks);
  return code;
}

// A group that holds nothing but its copies of the superblock and the descriptors needs no bitmap: every reader knows
// where they are. So a resize of a new filesystem has few blocks to read.
void LeaveOutKnownBitmaps(ext2_filsys fs) {
  for (dgrp_t group = 0; group + 1 < fs->group_desc_count; ++group) {
    blk_t copies = 0;
    if (ext2fs_super_and_bgd_loc2(fs, group, nullptr, nullptr, nullptr, &copies) != 0) continue;
    const auto blocks = static_cast<uint32_t>(ext2fs_group_blocks_count(fs, group));
    if (ext2fs_bg_free_blocks_count(fs, group) != blocks - copies) continue;
    ext2fs_bg_flags_set(fs, group, EXT2_BG_BLOCK_UNINIT);
    ext2fs_group_desc_csum_set(fs, group);
  }
}

Status Build(Filesystem& filesystem, bool with_directories) {
  ext2_filsys fs = filesystem.raw();
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(ext2fs_allocate_tables(fs), kOperation));
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(ext2fs_convert_subcluster_bitmap(fs, &fs->block_map), kOperation));
  blk64_t overhead_blocks = 0;
  const blk64_t last = ext2fs_blocks_count(fs->super) - 1;
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(
      ext2fs_count_used_clusters(fs, fs->super->s_first_data_block, last, &overhead_blocks), kOperation));
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(MakeInodeTables(fs), kOperation));
  if (with_directories) ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(MakeDirectories(fs), kOperation));
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(MakeReservedInodes(fs), kOperation));
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(MakeJournal(fs, overhead_blocks), kOperation));
  LeaveOutKnownBitmaps(fs);
  return Status::Ok();
}

}  // namespace

Result<uint64_t> MakeFilesystem(std::shared_ptr<Device> device, const MkfsRequest& request,
                                const CallContext& context) {
  const uint64_t wanted_bytes = request.size_bytes.value_or(device->size_bytes());
  const uint64_t size_bytes = wanted_bytes - wanted_bytes % kMkfsBlockBytes;
  ROOTLOOM_RETURN_IF_ERROR(CheckRequest(*device, request, size_bytes));

  auto io = std::make_unique<DeviceIo>(std::move(device));
  io->SetStopToken(context.stop);
  const std::string path = io->device().name();
  // What was there must not shine through: not for whoever reads free blocks, and not in what is taken as zeros.
  errcode_t code = io->Zero({0, size_bytes});
  ext2_super_block profile = Profile(size_bytes, request.least_inode_count);
  ext2_filsys fs = nullptr;
  if (code == 0) code = ext2fs_initialize(io->name(), EXT2_FLAG_64BITS, &profile, DeviceIo::manager(), &fs);
  if (code != 0) return FromErrcode(code, kOperation, path, io->TakeFailure());

  Filesystem filesystem(std::move(io), fs);
  filesystem.SetTime(request.time.value_or(Now()));
  SetIdentity(fs, request);
  ROOTLOOM_RETURN_IF_ERROR(Build(filesystem, !request.without_directories));
  const uint64_t made_bytes = ext2fs_blocks_count(fs->super) * fs->blocksize;
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Close());
  return made_bytes;
}

}  // namespace rootloom
