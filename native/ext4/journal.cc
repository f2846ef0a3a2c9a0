#include "native/ext4/journal.h"

#include "native/ext4/filesystem.h"

namespace rootloom {

namespace {

// Whether the superblock says that there is something to replay or release.
Result<bool> NeedsReplay(const std::shared_ptr<Device>& device, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(
      const auto filesystem,
      Filesystem::Open(device, {.journal = JournalPolicy::kIgnored, .superblock_only = true}, context));
  ext2_super_block* super = filesystem->raw()->super;
  return ext2fs_has_feature_journal_needs_recovery(super) || ext2fs_has_feature_orphan_present(super) ||
         super->s_last_orphan != 0;
}

}  // namespace

Result<ReplayReport> ReplayJournal(std::shared_ptr<Device> device, std::optional<int64_t> time,
                                   const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const bool needed, NeedsReplay(device, context));
  if (!needed) return ReplayReport{};
  DeviceIo io(device);
  io.SetStopToken(context.stop);
  ROOTLOOM_ASSIGN_OR_RETURN(E2fsckRun run, RunE2fsck(io, E2fsckMode::kJournalOnly, time.value_or(Now()), context));
  ROOTLOOM_ASSIGN_OR_RETURN(const bool still_needed, NeedsReplay(device, context));
  if (run.exit_bits > 3 || still_needed) {
    const std::string reason = run.problems.empty() ? run.output : run.problems.back().message;
    return Failure{.kind = StatusKind::kCorrupt,
                   .operation = "replay the journal of",
                   .detail = reason + ", check and repair it",
                   .path = device->name()};
  }
  return ReplayReport{.replayed = true, .problems = std::move(run.problems)};
}

}  // namespace rootloom
