#include "native/ext4/journal.h"

#include "native/ext4/filesystem.h"
#include "native/ext4/prefetch.h"

namespace rootloom {

namespace {

struct JournalState {
  bool needs_replay = false;  // the superblock says that there is something to replay or to release
  bool sound = false;         // neither marked as broken nor as not cleanly unmounted
  IoCounts io;
};

Result<JournalState> ReadState(const std::shared_ptr<Device>& device, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(
      const auto filesystem,
      Filesystem::Open(device, {.journal = JournalPolicy::kIgnored, .superblock_only = true}, context));
  ext2_super_block* super = filesystem->raw()->super;
  return JournalState{.needs_replay = ext2fs_has_feature_journal_needs_recovery(super) ||
                                      ext2fs_has_feature_orphan_present(super) || super->s_last_orphan != 0,
                      .sound = (super->s_state & (EXT2_VALID_FS | EXT2_ERROR_FS)) == EXT2_VALID_FS,
                      .io = filesystem->io().counts()};
}

// A filesystem that cannot be opened before its journal is replayed is replayed without.
Status Announce(const std::shared_ptr<Device>& device, IoCounts& counts, const CallContext& context) {
  const auto filesystem = Filesystem::Open(device, {.journal = JournalPolicy::kIgnored}, context);
  if (!filesystem.ok()) {
    return filesystem.status().failure().kind == StatusKind::kCorrupt ? Status::Ok() : filesystem.status();
  }
  const Status status = AnnounceJournal(**filesystem);
  counts = (*filesystem)->io().counts();
  return status;
}

}  // namespace

Result<ReplayReport> ReplayJournal(std::shared_ptr<Device> device, std::optional<int64_t> time,
                                   const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const JournalState before, ReadState(device, context));
  if (!before.needs_replay) return ReplayReport{.io = before.io};
  IoCounts counts;
  ROOTLOOM_RETURN_IF_ERROR(Announce(device, counts, context));
  DeviceIo io(device);
  io.SetStopToken(context.stop);
  ROOTLOOM_ASSIGN_OR_RETURN(E2fsckRun run, RunE2fsck(io, E2fsckMode::kJournalOnly, time.value_or(Now()), context));
  ROOTLOOM_ASSIGN_OR_RETURN(const JournalState after, ReadState(device, context));
  // e2fsck marks the filesystem as not valid when it came upon a broken transaction, and goes on.
  if ((run.exit_bits & ~3) != 0 || after.needs_replay || (before.sound && !after.sound)) {
    const std::string reason = run.problems.empty() ? "its content is damaged" : run.problems.back().message;
    return Failure{.kind = StatusKind::kCorrupt,
                   .operation = "replay the journal of",
                   .detail = reason + "; a check that repairs is needed",
                   .path = device->name()};
  }
  counts += io.counts();
  return ReplayReport{.replayed = true, .problems = std::move(run.problems), .io = counts};
}

}  // namespace rootloom
