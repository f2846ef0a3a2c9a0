#include "native/ext4/resize.h"

#include "native/ext4/engine.h"
#include "native/ext4/filesystem.h"
#include "native/ext4/fsck.h"
#include "native/ext4/prefetch.h"
#include "native/ext4/quota.h"
#include "native/ext4/resizable.h"
#include "native/ext4/stats.h"

namespace rootloom {

namespace {

// A shrink to less than the estimate and this much more is rehearsed.
constexpr uint64_t kRehearsalSlackBytes = 16 << 20;
// A disk's size is a multiple of this, whatever the filesystem's blocks.
constexpr uint64_t kDiskStepBytes = 4096;
// e2fsck's numbers begin with those of their pass. The fifth compares bitmaps and sums with the files that the passes
// before have found sound; in the sixth this is a quota file that says something else than they do.
constexpr uint32_t kSummaryPass = 5;
constexpr uint32_t kStaleQuota = 0x060002;

struct EngineResult {
  uint64_t new_blocks = 0;
  IoCounts io;
};

// resize_fs frees the filesystem when it succeeds; otherwise we do, without writing.
Result<EngineResult> RunEngine(std::unique_ptr<Filesystem> filesystem, uint64_t target_blocks,
                               const CallContext& context) {
  blk64_t blocks = target_blocks;
  const errcode_t code = RunResize(filesystem->io(), filesystem->raw(), &blocks, context);
  if (code == 0) filesystem->Release();
  Status status = filesystem->Check(code, kResizeOperation);
  if (!status.ok()) {
    // What cannot be done to a file is a caller's mistake elsewhere; here the filesystem has asked for it.
    Failure& failure = status.failure();
    if (failure.kind == StatusKind::kInvalidArgument) failure.kind = StatusKind::kCorrupt;
    return status;
  }
  return EngineResult{.new_blocks = blocks, .io = filesystem->io().counts()};
}

// The same, for a resize that is to stay.
Result<EngineResult> RunAnnounced(std::unique_ptr<Filesystem> filesystem, uint64_t target_blocks, int64_t time,
                                  const CallContext& context) {
  const bool shrinks = target_blocks < ext2fs_blocks_count(&filesystem->super());
  filesystem->SetTime(time);
  ROOTLOOM_RETURN_IF_ERROR(AnnounceResize(*filesystem, shrinks ? InodeScan::kAll : InodeScan::kNone));
  return RunEngine(std::move(filesystem), target_blocks, context);
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

// The smallest size, in blocks, that may work. The inodes of the filesystem's own files that have no fixed number stay
// in it: resize2fs would give them others and leave the superblock with the old ones.
uint64_t EstimateMinimum(ext2_filsys fs) {
  const ext2_super_block& super = *fs->super;
  ext2_ino_t last_own = 1;
  if (ext2fs_has_feature_journal(fs->super)) last_own = std::max(last_own, super.s_journal_inum);
  if (ext2fs_has_feature_orphan_file(fs->super)) last_own = std::max(last_own, super.s_orphan_file_inum);
  if (ext2fs_has_feature_quota(fs->super)) {
    last_own = std::max({last_own, super.s_usr_quota_inum, super.s_grp_quota_inum, super.s_prj_quota_inum});
  }
  const uint64_t estimate_blocks = rootloom_minimum_estimate(fs);
  const uint64_t groups = (last_own - 1) / super.s_inodes_per_group;
  if (groups == 0) return estimate_blocks;
  const uint64_t own_blocks = super.s_first_data_block + (groups + 1) * super.s_blocks_per_group;
  return std::max(estimate_blocks, std::min<uint64_t>(own_blocks, ext2fs_blocks_count(fs->super)));
}

// The smallest rehearsed size of at least estimate_blocks, in whole steps that a disk can have.
Result<uint64_t> FindMinimum(Filesystem& filesystem, const std::shared_ptr<Device>& device, uint64_t estimate_blocks,
                             const ScratchFactory& make_scratch, const CallContext& context) {
  ext2_filsys fs = filesystem.raw();
  const uint64_t current_blocks = ext2fs_blocks_count(fs->super);
  const uint64_t step_blocks = std::max<uint64_t>(kDiskStepBytes / fs->blocksize, 1);
  uint64_t more_blocks = std::max<uint64_t>(estimate_blocks / 256, 256);
  for (uint64_t blocks = estimate_blocks; blocks < current_blocks; blocks += more_blocks, more_blocks *= 2) {
    blocks = (blocks + step_blocks - 1) / step_blocks * step_blocks;
    if (blocks >= current_blocks) break;
    ROOTLOOM_ASSIGN_OR_RETURN(const bool fits, Rehearse(device, blocks, make_scratch, context));
    if (fits) return blocks;
  }
  return current_blocks;
}

Failure TooSmall(Filesystem& filesystem, uint64_t wanted_bytes, uint64_t minimum_bytes) {
  Failure failure = RefuseResize(StatusKind::kTooSmall, filesystem,
                                 "its content does not fit into " + std::to_string(wanted_bytes) + " bytes, at least " +
                                     std::to_string(minimum_bytes) + " are needed");
  failure.minimum_bytes = minimum_bytes;
  return failure;
}

Status CheckFits(Filesystem& filesystem, const std::shared_ptr<Device>& device, uint64_t target_blocks,
                 const ScratchFactory& make_scratch, const CallContext& context) {
  ext2_filsys fs = filesystem.raw();
  const uint64_t estimate_blocks = EstimateMinimum(fs);
  if (target_blocks >= estimate_blocks) {
    if (target_blocks >= estimate_blocks + estimate_blocks / 8 + kRehearsalSlackBytes / fs->blocksize) {
      return Status::Ok();
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const bool fits, Rehearse(device, target_blocks, make_scratch, context));
    if (fits) return Status::Ok();
  }
  ROOTLOOM_ASSIGN_OR_RETURN(
      const uint64_t minimum_blocks,
      FindMinimum(filesystem, device, std::max(estimate_blocks, target_blocks + 1), make_scratch, context));
  return TooSmall(filesystem, target_blocks * fs->blocksize, minimum_blocks * fs->blocksize);
}

// The number of blocks that the request asks for, when they can be had.
Result<uint64_t> FindTarget(Filesystem& filesystem, const std::shared_ptr<Device>& device, const ResizeRequest& request,
                            const ScratchFactory& make_scratch, const CallContext& context) {
  ext2_filsys fs = filesystem.raw();
  if (!request.size_bytes.has_value()) {
    ROOTLOOM_RETURN_IF_ERROR(CheckResizeTarget(filesystem, ext2fs_blocks_count(fs->super)));
    return FindMinimum(filesystem, device, EstimateMinimum(fs), make_scratch, context);
  }
  const uint64_t target_blocks = *request.size_bytes / fs->blocksize;
  ROOTLOOM_RETURN_IF_ERROR(CheckResizeTarget(filesystem, target_blocks));
  if (target_blocks < ext2fs_blocks_count(fs->super)) {
    ROOTLOOM_RETURN_IF_ERROR(CheckFits(filesystem, device, target_blocks, make_scratch, context));
  }
  return target_blocks;
}

bool OnlySummariesAreWrong(const FsckReport& report) {
  const auto is_summary = [](const E2fsckProblem& problem) {
    return problem.code >> 16 == kSummaryPass || problem.code == kStaleQuota;
  };
  return report.problem_count == report.problems.size() &&
         std::all_of(report.problems.begin(), report.problems.end(), is_summary);
}

// The last time that the filesystem itself knows of. e2fsck wants none of them to be in its future.
int64_t LastTime(ext2_super_block& super) {
  return std::max(
      {ext2fs_get_tstamp(&super, s_wtime), ext2fs_get_tstamp(&super, s_mtime), ext2fs_get_tstamp(&super, s_lastcheck)});
}

// What follows from the files is e2fsck's to put right: resize2fs frees a block too many when the last backup of the
// superblock moves (sparse_super2), and what quota files said wrong before, of inodes and of owners that they do not
// know, is more than UpdateQuota looks at.
Status CheckResult(const std::shared_ptr<Device>& device, int64_t time, ResizeReport& report,
                   const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(FsckReport check, Fsck(device, {.repair = false, .time = time}, context));
  report.checked = true;
  report.check_io = check.io;
  if (check.clean()) return Status::Ok();
  if (OnlySummariesAreWrong(check)) {
    ROOTLOOM_ASSIGN_OR_RETURN(const FsckReport repair, Fsck(device, {.repair = true, .time = time}, context));
    report.corrected = true;
    report.check_io += repair.io;
    ROOTLOOM_ASSIGN_OR_RETURN(check, Fsck(device, {.repair = false, .time = time}, context));
    report.check_io += check.io;
    if (check.clean()) return Status::Ok();
  }
  const std::string first =
      check.problems.empty() ? "exit code " + std::to_string(check.exit_bits) : check.problems.front().message;
  return Failure{.kind = StatusKind::kCorrupt,
                 .operation = kResizeOperation,
                 .detail = "a check of the result found: " + first,
                 .path = device->name()};
}

}  // namespace

Result<ResizeReport> Resize(std::shared_ptr<Device> device, const ResizeRequest& request,
                            const ScratchFactory& make_scratch, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, OpenForResize(device, true, context));
  ext2_filsys fs = filesystem->raw();
  const uint64_t current_blocks = ext2fs_blocks_count(fs->super);
  const uint32_t block_size = fs->blocksize;
  ResizeReport report{.old_size_bytes = current_blocks * block_size, .new_size_bytes = current_blocks * block_size};
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t target_blocks,
                            FindTarget(*filesystem, device, request, make_scratch, context));
  report.io = filesystem->io().counts();
  if (target_blocks == current_blocks) {
    ROOTLOOM_ASSIGN_OR_RETURN(report.after, ReadStats(std::move(device), context));
    return report;
  }

  const bool shrinks = target_blocks < current_blocks;
  const uint64_t reserved_blocks = MaxGrownBlocks(fs);
  const bool moves_blocks = shrinks || target_blocks > reserved_blocks;
  const bool needs_check = moves_blocks || block_size != 4096 || ext2fs_has_feature_sparse_super2(fs->super) != 0;
  const bool updates_quota = moves_blocks && ext2fs_has_feature_quota(fs->super);
  const int64_t time = request.time.value_or(LastTime(*fs->super));
  IoCounts io_before;
  if (current_blocks < reserved_blocks && reserved_blocks < target_blocks &&
      ext2fs_has_feature_resize_inode(fs->super)) {
    // More descriptors than there is room for push blocks away. resize2fs takes those of the resize inode for wrong
    // when they get behind the old end of the filesystem (tytso/e2fsprogs#98), so that is moved first.
    ROOTLOOM_ASSIGN_OR_RETURN(const EngineResult first,
                              RunAnnounced(std::move(filesystem), reserved_blocks, time, context));
    io_before = first.io;
    ROOTLOOM_ASSIGN_OR_RETURN(filesystem, OpenForResize(device, true, context));
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const EngineResult result,
                            RunAnnounced(std::move(filesystem), target_blocks, time, context));
  report.new_size_bytes = result.new_blocks * block_size;
  report.io = result.io;
  report.io += io_before;
  if (updates_quota) ROOTLOOM_RETURN_IF_ERROR(UpdateQuota(device, time, report.io, context));
  if (needs_check) ROOTLOOM_RETURN_IF_ERROR(CheckResult(device, time, report, context));
  ROOTLOOM_ASSIGN_OR_RETURN(report.after, ReadStats(std::move(device), context));
  return report;
}

Result<uint64_t> MinimumSize(std::shared_ptr<Device> device, const ScratchFactory& make_scratch,
                             const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, OpenForResize(device, false, context));
  ext2_filsys fs = filesystem->raw();
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t blocks,
                            FindMinimum(*filesystem, device, EstimateMinimum(fs), make_scratch, context));
  return blocks * fs->blocksize;
}

}  // namespace rootloom
