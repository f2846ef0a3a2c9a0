#include "native/ext4/rebuild/rebuild.h"

#include "native/ext4/engine.h"
#include "native/ext4/mkfs.h"
#include "native/ext4/rebuild/demand.h"
#include "native/ext4/rebuild/rebuilder.h"

namespace rootloom {

namespace {

constexpr const char* kOperation = "rebuild the filesystem of";

Failure Refuse(StatusKind kind, Filesystem& filesystem, std::string detail) {
  return {.kind = kind, .operation = kOperation, .detail = std::move(detail), .path = filesystem.device().name()};
}

Result<std::unique_ptr<Filesystem>> OpenSource(std::shared_ptr<Device> device, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto source, Filesystem::Open(std::move(device), {}, context));
  ext2_super_block& super = source->super();
  if ((super.s_state & EXT2_ERROR_FS) != 0 || (super.s_state & EXT2_VALID_FS) == 0) {
    return Refuse(StatusKind::kCorrupt, *source, "it is not clean, check and repair it first");
  }
  if (super.s_last_orphan != 0 || ext2fs_has_feature_orphan_present(&super)) {
    return Refuse(StatusKind::kUnsupported, *source, "it has orphaned inodes, replay its journal first");
  }
  if (ext2fs_has_feature_journal_dev(&super)) {
    return Refuse(StatusKind::kUnsupported, *source, "it is the journal of another filesystem");
  }
  return source;
}

// What the files bring with them that our profile does not have.
void AdoptFeatures(Filesystem& source, const Survey& survey, Filesystem& target) {
  ext2_super_block* from = &source.super();
  ext2_super_block* to = &target.super();
  if (ext2fs_has_feature_project(from)) ext2fs_set_feature_project(to);
  if (ext2fs_has_feature_largedir(from)) ext2fs_set_feature_largedir(to);
  if (survey.has_attribute_inodes) ext2fs_set_feature_ea_inode(to);
  if (ext2fs_has_feature_casefold(from)) {
    ext2fs_set_feature_casefold(to);
    to->s_encoding = from->s_encoding;
    to->s_encoding_flags = from->s_encoding_flags;
    target.raw()->encoding = ext2fs_load_nls_table(to->s_encoding);
  }
}

MkfsRequest RequestFor(Filesystem& source, const Survey& survey, const RebuildRequest& request) {
  ext2_super_block& super = source.super();
  MkfsRequest mkfs{.time = request.time.value_or(ext2fs_get_tstamp(&super, s_wtime)),
                   .least_inode_count = InodeCountFor(survey.file_count),
                   .without_directories = true};
  std::copy(std::begin(super.s_uuid), std::end(super.s_uuid), mkfs.uuid.begin());
  std::memcpy(mkfs.hash_seed.data(), super.s_hash_seed, mkfs.hash_seed.size());
  const auto* label = reinterpret_cast<const char*>(super.s_volume_name);
  mkfs.label.assign(label, strnlen(label, sizeof super.s_volume_name));
  return mkfs;
}

// The blocks that directories, extents and attributes are kept in: an estimate, for where content begins.
uint64_t MetadataBlocks(const Survey& survey) { return survey.directory_blocks + survey.directory_blocks / 3 + 16; }

Status Fill(Filesystem& source, const Survey& survey, std::shared_ptr<Device> device, const RebuildRequest& request,
            const CallContext& context, RebuildReport& report) {
  const MkfsRequest mkfs = RequestFor(source, survey, request);
  ROOTLOOM_ASSIGN_OR_RETURN(report.size_bytes, MakeFilesystem(device, mkfs, context));
  ROOTLOOM_ASSIGN_OR_RETURN(auto target, Filesystem::Open(device, {.writable = true}, context));
  target->SetTime(mkfs.time);
  ROOTLOOM_RETURN_IF_ERROR(target->ReadBitmaps());
  AdoptFeatures(source, survey, *target);
  ROOTLOOM_ASSIGN_OR_RETURN(Space space, Space::Open(*target, MetadataBlocks(survey)));
  Rebuilder rebuilder(source, *target, survey, std::move(space), context);
  ROOTLOOM_RETURN_IF_ERROR(rebuilder.Run());
  report.runs = rebuilder.TakeRuns();
  report.metadata_bytes = rebuilder.written_bytes();
  ROOTLOOM_RETURN_IF_ERROR(target->Close());
  report.io = target->io().counts();
  return Status::Ok();
}

bool IsTooSmall(const Status& status) {
  if (status.ok()) return false;
  const Failure& failure = status.failure();
  // A full host is an error; a full image is the answer.
  return failure.kind == StatusKind::kTooSmall || (failure.kind == StatusKind::kNoSpace && failure.error_number == 0);
}

}  // namespace

Result<RebuildReport> Rebuild(std::shared_ptr<Device> source_device, std::shared_ptr<Device> target_device,
                              const RebuildRequest& request, const ScratchDeviceFactory& make_scratch,
                              const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto source, OpenSource(std::move(source_device), context));
  ROOTLOOM_ASSIGN_OR_RETURN(const Survey survey, TakeSurvey(*source, context));
  RebuildReport report{.file_count = survey.file_count};
  const uint64_t size_bytes = target_device->size_bytes();
  const Status filled = Fill(*source, survey, std::move(target_device), request, context, report);
  if (IsTooSmall(filled)) {
    ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t minimum_bytes, FindRebuiltSize(*source, survey, 0, make_scratch, context));
    Failure failure = Refuse(StatusKind::kTooSmall, *source,
                             "its content does not fit into " + std::to_string(size_bytes) + " bytes, at least " +
                                 std::to_string(minimum_bytes) + " are needed");
    failure.minimum_bytes = minimum_bytes;
    return failure;
  }
  ROOTLOOM_RETURN_IF_ERROR(filled);
  for (const ContentRun& run : report.runs) report.content_bytes += run.length_bytes;
  report.io += source->io().counts();
  return report;
}

Result<uint64_t> RebuiltSize(std::shared_ptr<Device> source_device, uint64_t free_bytes,
                             const ScratchDeviceFactory& make_scratch, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto source, OpenSource(std::move(source_device), context));
  ROOTLOOM_ASSIGN_OR_RETURN(const Survey survey, TakeSurvey(*source, context));
  return FindRebuiltSize(*source, survey, free_bytes, make_scratch, context);
}

}  // namespace rootloom
