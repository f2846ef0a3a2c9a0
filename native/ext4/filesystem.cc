#include "native/ext4/filesystem.h"

#include <cerrno>

#include "native/ext4/prefetch.h"

namespace rootloom {

namespace {

StatusKind KindOf(errcode_t code) {
  switch (code) {
    case EXT2_ET_BLOCK_ALLOC_FAIL:
    case EXT2_ET_INODE_ALLOC_FAIL:
    case EXT2_ET_DIR_NO_SPACE:
    case EXT2_ET_EA_NO_SPACE:
    case EXT2_ET_EXTENT_NO_SPACE:
    case EXT2_ET_INLINE_DATA_NO_SPACE:
    case EXT2_ET_FILE_TOO_BIG:
    case EXT2_ET_TOO_MANY_INODES:
    case EXT2_ET_TOOSMALL:
      return StatusKind::kNoSpace;
    case EXT2_ET_FILE_NOT_FOUND:
    case EXT2_ET_EA_KEY_NOT_FOUND:
      return StatusKind::kNotFound;
    case EXT2_ET_UNSUPP_FEATURE:
    case EXT2_ET_RO_UNSUPP_FEATURE:
    case EXT2_ET_REV_TOO_HIGH:
    case EXT2_ET_UNIMPLEMENTED:
    case EXT2_ET_OP_NOT_SUPPORTED:
    case EXT2_ET_JOURNAL_UNSUPP_VERSION:
    case EXT2_ET_EXTERNAL_JOURNAL_NOSUPP:
    case EXT2_ET_LOAD_EXT_JOURNAL:
    case EXT2_ET_UNKNOWN_CSUM:
    case EXT2_ET_DIRHASH_UNSUPP:
      return StatusKind::kUnsupported;
    case EXT2_ET_INVALID_ARGUMENT:
    case EXT2_ET_NO_DIRECTORY:
    case EXT2_ET_DIR_EXISTS:
    case EXT2_ET_FILE_EXISTS:
    case EXT2_ET_FILE_RO:
    case EXT2_ET_RO_FILSYS:
    case EXT2_ET_SYMLINK_LOOP:
    case EXT2_ET_JOURNAL_TOO_SMALL:
    case EXT2_ET_EA_BAD_NAME_LEN:
      return StatusKind::kInvalidArgument;
    case EXT2_ET_NO_MEMORY:
      return StatusKind::kIo;
    case EXT2_ET_CANCEL_REQUESTED:
      return StatusKind::kCancelled;
    default:
      // What is left says that the filesystem's structures contradict each other.
      return StatusKind::kCorrupt;
  }
}

// The table's own texts, without com_err's process-wide registry.
std::string TextOf(errcode_t code) {
  const errcode_t index = code - et_ext2_error_table.base;
  if (index < 0 || index >= et_ext2_error_table.n_msgs) return "error code " + std::to_string(code);
  return et_ext2_error_table.msgs[index];
}

Status CheckUsable(Filesystem& filesystem, const OpenOptions& options) {
  const std::string path = filesystem.device().name();
  ext2_filsys fs = filesystem.raw();
  const uint64_t size_bytes = ext2fs_blocks_count(fs->super) * fs->blocksize;
  if (size_bytes > filesystem.device().size_bytes()) {
    return Failure{.kind = StatusKind::kCorrupt,
                   .operation = "open the filesystem of",
                   .detail = "it is " + std::to_string(size_bytes) + " bytes long, the device has only " +
                             std::to_string(filesystem.device().size_bytes()),
                   .path = path};
  }
  if (options.journal == JournalPolicy::kMustBeReplayed && ext2fs_has_feature_journal_needs_recovery(fs->super)) {
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = "open the filesystem of",
                   .detail = "its journal holds changes that are not in the filesystem yet, replay the journal first",
                   .path = path};
  }
  return Status::Ok();
}

}  // namespace

Status FromErrcode(errcode_t code, const char* operation, const std::string& path, std::optional<Failure> cause) {
  if (cause.has_value()) return std::move(*cause);
  if (code == 0) return Status::Ok();
  // Errnos of e2fsprogs itself: no device took part, or DeviceIo would have remembered it.
  if (code == ENOMEM) code = EXT2_ET_NO_MEMORY;
  if (code == ENOSPC) code = EXT2_ET_BLOCK_ALLOC_FAIL;  // So resize2fs says that the image is full, not the host.
  if (code > 0 && code < 256) return Status::Errno(operation, path, static_cast<int>(code));
  return Failure{.kind = KindOf(code),
                 .operation = operation,
                 .detail = TextOf(code),
                 .path = path,
                 .error_number = code == EXT2_ET_NO_MEMORY ? ENOMEM : 0};
}

Result<std::unique_ptr<Filesystem>> Filesystem::Open(std::shared_ptr<Device> device, const OpenOptions& options,
                                                     const CallContext& context) {
  auto io = std::make_unique<DeviceIo>(std::move(device));
  io->SetStopToken(context.stop);
  AnnounceOpen(*io);
  // Multi-mount protection guards against a second host; a Device has one owner, so waiting for it is pointless.
  int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP;
  if (options.writable) flags |= EXT2_FLAG_RW;
  if (options.superblock_only) flags |= EXT2_FLAG_SUPER_ONLY;
  ext2_filsys fs = nullptr;
  const errcode_t code = ext2fs_open2(io->name(), nullptr, flags, 0, 0, DeviceIo::manager(), &fs);
  if (code != 0) return FromErrcode(code, "open the filesystem of", io->device().name(), io->TakeFailure());
  fs->default_bitmap_type = EXT2FS_BMAP64_RBTREE;
  // Or a copy of the filesystem, as resizing makes it, would take descriptor 0 for its own and duplicate it.
  fs->mmp_fd = -1;
  auto filesystem = std::make_unique<Filesystem>(std::move(io), fs);
  // The environment may have set a time; ours comes from the caller alone.
  filesystem->SetTime(std::nullopt);
  ROOTLOOM_RETURN_IF_ERROR(CheckUsable(*filesystem, options));
  return filesystem;
}

Filesystem::~Filesystem() {
  if (fs_ != nullptr) ext2fs_free(fs_);
}

Status Filesystem::Check(errcode_t code, const char* operation, const std::string& path) {
  std::optional<Failure> cause = io_->TakeFailure();
  return FromErrcode(code, operation, path.empty() ? device().name() : path, std::move(cause));
}

void Filesystem::SetTime(std::optional<int64_t> seconds) {
  fs_->now = seconds.value_or(0);
  fs_->flags2 = seconds.has_value() ? fs_->flags2 | EXT2_FLAG2_USE_FAKE_TIME : fs_->flags2 & ~EXT2_FLAG2_USE_FAKE_TIME;
}

Status Filesystem::ReadBitmaps() {
  if (fs_->block_map != nullptr && fs_->inode_map != nullptr) return Status::Ok();
  return Check(ext2fs_read_bitmaps(fs_), "read the bitmaps of");
}

Status Filesystem::Flush() {
  ROOTLOOM_RETURN_IF_ERROR(Check(ext2fs_flush(fs_), "write the metadata of"));
  return device().Flush();
}

Status Filesystem::Close() {
  const errcode_t code = ext2fs_close2(fs_, 0);
  if (code != 0) ext2fs_free(fs_);
  fs_ = nullptr;
  return Check(code, "write the metadata of");
}

}  // namespace rootloom
