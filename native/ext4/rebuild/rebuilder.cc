#include "native/ext4/rebuild/rebuilder.h"

#include "native/ext4/mkfs.h"
#include "native/ext4/rebuild/extent_tree.h"

namespace rootloom {

namespace {

constexpr uint16_t kExtraBytes = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
constexpr uint64_t kReportEvery = 1024;
// What says how the source keeps a file, and not what the file is like.
constexpr uint32_t kLayoutFlags =
    EXT4_EXTENTS_FL | EXT4_HUGE_FILE_FL | EXT4_INLINE_DATA_FL | EXT2_INDEX_FL | 0x0040'0000;

Status Inconsistent(ext2_ino_t number, std::string detail) {
  return Status::Corrupt("rebuild inode " + std::to_string(number), std::move(detail));
}

// Begins the new inode of from: everything that is not about where its content lies.
NewInode Begin(ext2_ino_t number, const ScannedInode& from, size_t source_inode_bytes, size_t inode_bytes) {
  NewInode inode(number, from.raw, inode_bytes);
  ext2_inode_large& fields = inode.fields();
  const bool had_room = source_inode_bytes > EXT2_GOOD_OLD_INODE_SIZE;
  if (!had_room || fields.i_extra_isize > inode_bytes - EXT2_GOOD_OLD_INODE_SIZE) fields.i_extra_isize = kExtraBytes;
  fields.i_flags &= ~kLayoutFlags;
  fields.i_dtime = 0;
  return inode;
}

}  // namespace

Rebuilder::Rebuilder(Filesystem& source, Filesystem& target, const Survey& survey, Space space,
                     const CallContext& context)
    : source_(source),
      target_(target),
      survey_(survey),
      context_(context),
      space_(std::move(space)),
      source_blocks_(source),
      attributes_(source, target),
      directories_(source, target, survey),
      tables_(target),
      blocks_(target) {}

Status Rebuilder::Save(NewInode& inode) {
  ext2_filsys fs = target_.raw();
  ROOTLOOM_RETURN_IF_ERROR(target_.Check(ext2fs_iblk_set(fs, inode.base(), inode.block_count), "count the blocks of"));
  ROOTLOOM_RETURN_IF_ERROR(
      target_.Check(ext2fs_inode_csum_set(fs, inode.number(), &inode.fields()), "write the inodes of"));
  const uint32_t index = inode.number() - 1;
  const uint32_t in_group = index % fs->super->s_inodes_per_group;
  const uint64_t table = ext2fs_inode_table_loc(fs, index / fs->super->s_inodes_per_group);
  ROOTLOOM_RETURN_IF_ERROR(
      tables_.Put(table * kMkfsBlockBytes + uint64_t{in_group} * inode.bytes().size(), inode.bytes()));
  ext2fs_inode_alloc_stats2(fs, inode.number(), +1, LINUX_S_ISDIR(inode.fields().i_mode) ? 1 : 0);
  return Status::Ok();
}

Status Rebuilder::WriteInlineContent(const ScannedInode& from, NewInode& inode) {
  std::vector<std::byte> content(source_.raw()->blocksize);
  size_t count = 0;
  ROOTLOOM_RETURN_IF_ERROR(
      source_.Check(ext2fs_inline_data_get(source_.raw(), from.number,
                                           const_cast<ext2_inode*>(reinterpret_cast<const ext2_inode*>(&from.fields())),
                                           content.data(), &count),
                    "read the content of"));
  content.resize(std::min<uint64_t>(count, EXT2_I_SIZE(&from.fields())));
  if (LINUX_S_ISLNK(inode.fields().i_mode) && content.size() < sizeof inode.fields().i_block) {
    auto& place = inode.fields().i_block;
    std::memset(place, 0, sizeof place);
    std::memcpy(place, content.data(), content.size());
    return Status::Ok();
  }
  std::vector<FileRun> runs;
  if (!content.empty()) {
    ROOTLOOM_ASSIGN_OR_RETURN(const BlockRange place, space_.TakeMetadata(1));
    content.resize(kMkfsBlockBytes);
    ROOTLOOM_RETURN_IF_ERROR(blocks_.Put(place.start * kMkfsBlockBytes, content));
    runs.push_back({.device_block = place.start, .block_count = 1});
  }
  return BuildExtentTree(target_, inode, runs, space_, blocks_);
}

Status Rebuilder::WriteContent(const ScannedInode& from, NewInode& inode) {
  const uint16_t mode = inode.fields().i_mode;
  if (LINUX_S_ISDIR(mode)) return directories_.Build(from.number, inode, space_, blocks_);
  if ((from.fields().i_flags & EXT4_INLINE_DATA_FL) != 0) return WriteInlineContent(from, inode);
  Inode old{.number = from.number};
  std::memcpy(&old.raw, from.raw.data(), sizeof old.raw);
  const bool has_blocks = ext2fs_inode_has_valid_blocks2(source_.raw(), old.base()) != 0;
  // Device numbers and short targets lie where others have their blocks, and are there already.
  if (!has_blocks) return Status::Ok();
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<FileRun> runs, source_blocks_.RunsOf(old));
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<FileRun> laid_out, LayOut(runs, source_.raw()->blocksize, space_, runs_));
  return BuildExtentTree(target_, inode, laid_out, space_, blocks_);
}

Status Rebuilder::WriteFile(const ScannedInode& from) {
  const auto number = survey_.numbers.Find(from.number);
  if (!number) return Inconsistent(from.number, "it changed while it was read");
  ext2_filsys fs = target_.raw();
  if (*number > fs->super->s_inodes_count) return Inconsistent(from.number, "there are more files than were counted");
  NewInode inode = Begin(*number, from, EXT2_INODE_SIZE(source_.raw()->super), EXT2_INODE_SIZE(fs->super));
  const InodeInProgress in_progress(fs, inode);
  ROOTLOOM_RETURN_IF_ERROR(attributes_.Take(from, inode, space_));
  ROOTLOOM_RETURN_IF_ERROR(WriteContent(from, inode));
  ROOTLOOM_RETURN_IF_ERROR(Save(inode));
  if (++done_count_ % kReportEvery == 0) {
    ROOTLOOM_RETURN_IF_ERROR(context_.CheckStopped("rebuild"));
    context_.report({.step = "rebuild", .done = done_count_, .total = survey_.file_count});
  }
  return Status::Ok();
}

Status Rebuilder::Run() {
  ROOTLOOM_RETURN_IF_ERROR(ForEachInode(source_, context_, [&](const ScannedInode& from) {
    return from.is_attribute() ? Status::Ok() : WriteFile(from);
  }));
  ROOTLOOM_RETURN_IF_ERROR(tables_.Flush());
  ROOTLOOM_RETURN_IF_ERROR(blocks_.Flush());
  ROOTLOOM_RETURN_IF_ERROR(attributes_.WriteBlocks(context_));
  space_.Commit();
  return attributes_.SetOthers(context_);
}

std::vector<ContentRun> Rebuilder::TakeRuns() {
  // Content that found no room in its own part lies in front.
  std::sort(runs_.begin(), runs_.end(),
            [](const ContentRun& a, const ContentRun& b) { return a.target_bytes < b.target_bytes; });
  return std::move(runs_);
}

}  // namespace rootloom
