#include "native/ext4/resize.h"

#include "native/ext4/engine.h"
#include "native/ext4/filesystem.h"
#include "native/ext4/fsck.h"
#include "native/ext4/stats.h"

namespace rootloom {

namespace {

constexpr const char* kOperation = "resize the filesystem of";
// A shrink to less than the estimate and this much more is rehearsed.
constexpr uint64_t kRehearsalSlackBytes = 16 << 20;
constexpr uint64_t kMaximumBytes = uint64_t{16} << 40;

Failure Refuse(StatusKind kind, Filesystem& filesystem, std::string detail) {
  return {.kind = kind, .operation = kOperation, .detail = std::move(detail), .path = filesystem.device().name()};
}

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

// Opens the filesystem and checks that resizing may begin.
Result<std::unique_ptr<Filesystem>> OpenForResize(std::shared_ptr<Device> device, bool writable,
                                                  const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, Filesystem::Open(std::move(device), {.writable = writable}, context));
  ext2_filsys fs = filesystem->raw();
  const ext2_super_block& super = *fs->super;
  if ((super.s_state & EXT2_ERROR_FS) != 0 || (super.s_state & EXT2_VALID_FS) == 0) {
    return Refuse(StatusKind::kCorrupt, *filesystem, "it is not clean, check and repair it first");
  }
  if (super.s_last_orphan != 0 || ext2fs_has_feature_orphan_present(fs->super)) {
    return Refuse(StatusKind::kUnsupported, *filesystem, "it has orphaned inodes, replay its journal first");
  }
  if ((super.s_feature_compat & ~EXT2_LIB_FEATURE_COMPAT_SUPP) != 0) {
    return Refuse(StatusKind::kUnsupported, *filesystem, "it has features that this version does not know");
  }
  if (ext2fs_has_feature_bigalloc(fs->super)) {
    return Refuse(StatusKind::kUnsupported, *filesystem, "it has the feature bigalloc, which cannot be resized safely");
  }
  ROOTLOOM_RETURN_IF_ERROR(filesystem->Check(ext2fs_check_desc(fs), "read the group descriptors of"));
  if (!CountsArePossible(fs)) {
    return Refuse(StatusKind::kCorrupt, *filesystem, "its group descriptors are wrong, check and repair it first");
  }
  RefreshFreeCounts(fs);
  return filesystem;
}

Status CheckTarget(Filesystem& filesystem, uint64_t target_blocks) {
  ext2_filsys fs = filesystem.raw();
  if (target_blocks * fs->blocksize > filesystem.device().size_bytes()) {
    return Refuse(StatusKind::kInvalidArgument, filesystem,
                  "the device has " + std::to_string(filesystem.device().size_bytes()) + " bytes, " +
                      std::to_string(target_blocks * fs->blocksize) + " are wanted");
  }
  if (std::max<uint64_t>(target_blocks, ext2fs_blocks_count(fs->super)) > kMaximumBytes / fs->blocksize) {
    return Refuse(StatusKind::kUnsupported, filesystem,
                  "it is or would be larger than " + std::to_string(kMaximumBytes) + " bytes");
  }
  if (target_blocks > UINT32_MAX && !ext2fs_has_feature_64bit(fs->super)) {
    return Refuse(StatusKind::kUnsupported, filesystem,
                  "without the feature 64bit it cannot have more than 2^32 - 1 blocks");
  }
  if (target_blocks < ext2fs_blocks_count(fs->super) && ext2fs_has_feature_stable_inodes(fs->super)) {
    return Refuse(StatusKind::kUnsupported, filesystem, "it has the feature stable_inodes, which forbids shrinking");
  }
  if (!ext2fs_has_feature_meta_bg(fs->super)) {
    const uint64_t groups = (target_blocks + fs->super->s_blocks_per_group - 1) / fs->super->s_blocks_per_group;
    const uint64_t descriptor_blocks = (groups + EXT2_DESC_PER_BLOCK(fs->super) - 1) / EXT2_DESC_PER_BLOCK(fs->super);
    if (descriptor_blocks + fs->super->s_first_data_block > fs->super->s_blocks_per_group) {
      return Refuse(StatusKind::kUnsupported, filesystem,
                    "its group descriptors would not fit into the first block group at that size");
    }
  }
  return Status::Ok();
}

struct EngineResult {
  uint64_t new_blocks = 0;
  IoCounts io;
};

// resize_fs frees the filesystem when it succeeds; otherwise we do, without writing.
Result<EngineResult> RunEngine(std::unique_ptr<Filesystem> filesystem, uint64_t target_blocks,
                               const CallContext& context) {
  blk64_t blocks = target_blocks;
  const errcode_t code = RunResize(filesystem->io(), filesystem->raw(), &blocks, context);
  const Status status = filesystem->Check(code, kOperation);
  if (!status.ok()) return status;
  filesystem->Release();
  return EngineResult{.new_blocks = blocks, .io = filesystem->io().counts()};
}

// True when the shrink works on a scratch copy. False when the content does not fit.
Result<bool> Rehearse(const std::shared_ptr<Device>& device, uint64_t target_blocks, const ScratchFactory& make_scratch,
                      const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<Device> scratch, make_scratch(device));
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, OpenForResize(scratch, true, context));
  const Result<EngineResult> result = RunEngine(std::move(filesystem), target_blocks, context);
  if (result.ok()) return true;
  // A full host is an error; a full image is the answer.
  const Status status = result.status();
  const Failure& failure = status.failure();
  if (failure.kind == StatusKind::kNoSpace && failure.error_number == 0) return false;
  return status;
}

// The smallest rehearsed size of at least estimate_blocks.
Result<uint64_t> FindMinimum(const std::shared_ptr<Device>& device, uint64_t estimate_blocks, uint64_t current_blocks,
                             const ScratchFactory& make_scratch, const CallContext& context) {
  uint64_t step = std::max<uint64_t>(estimate_blocks / 256, 256);
  for (uint64_t blocks = estimate_blocks; blocks < current_blocks; blocks += step, step *= 2) {
    ROOTLOOM_ASSIGN_OR_RETURN(const bool fits, Rehearse(device, blocks, make_scratch, context));
    if (fits) return blocks;
  }
  return current_blocks;
}

Failure TooSmall(Filesystem& filesystem, uint64_t wanted_bytes, uint64_t minimum_bytes) {
  Failure failure = Refuse(StatusKind::kTooSmall, filesystem,
                           "its content does not fit into " + std::to_string(wanted_bytes) + " bytes, at least " +
                               std::to_string(minimum_bytes) + " are needed");
  failure.minimum_bytes = minimum_bytes;
  return failure;
}

Status CheckFits(Filesystem& filesystem, const std::shared_ptr<Device>& device, uint64_t target_blocks,
                 const ScratchFactory& make_scratch, const CallContext& context) {
  ext2_filsys fs = filesystem.raw();
  const uint64_t current_blocks = ext2fs_blocks_count(fs->super);
  const uint64_t estimate_blocks = rootloom_minimum_estimate(fs);
  if (target_blocks >= estimate_blocks) {
    if (target_blocks >= estimate_blocks + estimate_blocks / 8 + kRehearsalSlackBytes / fs->blocksize) {
      return Status::Ok();
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const bool fits, Rehearse(device, target_blocks, make_scratch, context));
    if (fits) return Status::Ok();
  }
  ROOTLOOM_ASSIGN_OR_RETURN(
      const uint64_t minimum_blocks,
      FindMinimum(device, std::max(estimate_blocks, target_blocks + 1), current_blocks, make_scratch, context));
  return TooSmall(filesystem, target_blocks * fs->blocksize, minimum_blocks * fs->blocksize);
}

Status CheckResult(const std::shared_ptr<Device>& device, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const FsckReport report, Fsck(device, {.repair = false, .time = std::nullopt}, context));
  if (report.clean()) return Status::Ok();
  const std::string first =
      report.problems.empty() ? "exit code " + std::to_string(report.exit_bits) : report.problems.front().message;
  return Failure{.kind = StatusKind::kCorrupt,
                 .operation = kOperation,
                 .detail = "a check of the result found: " + first,
                 .path = device->name()};
}

}  // namespace

Result<ResizeReport> Resize(std::shared_ptr<Device> device, const ResizeRequest& request,
                            const ScratchFactory& make_scratch, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, OpenForResize(device, true, context));
  ext2_filsys fs = filesystem->raw();
  const uint64_t current_blocks = ext2fs_blocks_count(fs->super);
  const uint64_t target_blocks = request.size_bytes / fs->blocksize;
  const uint32_t block_size = fs->blocksize;
  ResizeReport report{.old_size_bytes = current_blocks * block_size, .new_size_bytes = current_blocks * block_size};
  ROOTLOOM_RETURN_IF_ERROR(CheckTarget(*filesystem, target_blocks));
  if (target_blocks == current_blocks) return report;

  const bool shrinks = target_blocks < current_blocks;
  if (shrinks) ROOTLOOM_RETURN_IF_ERROR(CheckFits(*filesystem, device, target_blocks, make_scratch, context));
  const bool needs_check = shrinks || block_size != 4096 || target_blocks > MaxGrownBlocks(fs);
  filesystem->SetTime(request.time.value_or(Now()));
  filesystem->io().CountBlocks();
  ROOTLOOM_ASSIGN_OR_RETURN(const EngineResult result, RunEngine(std::move(filesystem), target_blocks, context));
  report.new_size_bytes = result.new_blocks * block_size;
  report.io = result.io;
  report.checked = needs_check;
  if (needs_check) ROOTLOOM_RETURN_IF_ERROR(CheckResult(device, context));
  return report;
}

Result<uint64_t> MinimumSize(std::shared_ptr<Device> device, const ScratchFactory& make_scratch,
                             const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, OpenForResize(device, false, context));
  ext2_filsys fs = filesystem->raw();
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t blocks, FindMinimum(device, rootloom_minimum_estimate(fs),
                                                               ext2fs_blocks_count(fs->super), make_scratch, context));
  return blocks * fs->blocksize;
}

}  // namespace rootloom
