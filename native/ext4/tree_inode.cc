#include "native/ext4/tree_inode.h"

#include <cerrno>
#include <ctime>
#include <vector>

namespace rootloom {

namespace {

constexpr int64_t kEarliestSeconds = -(int64_t{1} << 31);
constexpr int64_t kLatestSeconds = (int64_t{1} << 34) - (int64_t{1} << 31) - 1;
constexpr int64_t kLatestSecondsWithoutExtra = (int64_t{1} << 31) - 1;

// Two bits of the extra field extend the seconds, the others are nanoseconds.
constexpr uint32_t kEpochBits = 2;
constexpr uint32_t kEpochMask = (1u << kEpochBits) - 1;

bool HasField(const ext2_inode_large& raw, const void* field, size_t field_bytes) {
  const size_t end =
      static_cast<size_t>(static_cast<const char*>(field) - reinterpret_cast<const char*>(&raw)) + field_bytes;
  return end <= EXT2_GOOD_OLD_INODE_SIZE + size_t{raw.i_extra_isize};
}

void EncodeTime(const ext2_inode_large& raw, Timestamp time, __u32& seconds, __u32& extra) {
  if (!HasField(raw, &extra, sizeof extra)) {
    seconds = static_cast<uint32_t>(std::clamp(time.seconds, kEarliestSeconds, kLatestSecondsWithoutExtra));
    return;
  }
  if (time.seconds < kEarliestSeconds) time = {kEarliestSeconds, 0};
  if (time.seconds > kLatestSeconds) time = {kLatestSeconds, 999'999'999};
  seconds = static_cast<uint32_t>(time.seconds);
  const int64_t epoch = (time.seconds - static_cast<int32_t>(seconds)) >> 32;
  extra = (time.nanoseconds << kEpochBits) | (static_cast<uint32_t>(epoch) & kEpochMask);
}

Timestamp DecodeTime(const ext2_inode_large& raw, const __u32& seconds, const __u32& extra) {
  Timestamp time{static_cast<int32_t>(seconds), 0};
  if (!HasField(raw, &extra, sizeof extra)) return time;
  time.seconds += int64_t{extra & kEpochMask} << 32;
  // Thirty bits hold more than a second has.
  time.nanoseconds = std::min<uint32_t>(extra >> kEpochBits, 999'999'999);
  return time;
}

// Linux keeps small device numbers in the first block pointer and all others in the second.
DeviceNumber DecodeDevice(const ext2_inode_large& raw) {
  if (const uint32_t old_form = raw.i_block[0]; old_form != 0) return {(old_form >> 8) & 0xff, old_form & 0xff};
  const uint32_t form = raw.i_block[1];
  return {(form & 0xfff00) >> 8, (form & 0xff) | ((form >> 12) & 0xfff00)};
}

}  // namespace

FileType Inode::type() const {
  switch (raw.i_mode & LINUX_S_IFMT) {
    case LINUX_S_IFDIR:
      return FileType::kDirectory;
    case LINUX_S_IFLNK:
      return FileType::kSymlink;
    case LINUX_S_IFCHR:
      return FileType::kCharacterDevice;
    case LINUX_S_IFBLK:
      return FileType::kBlockDevice;
    case LINUX_S_IFIFO:
      return FileType::kFifo;
    case LINUX_S_IFSOCK:
      return FileType::kSocket;
    default:
      return FileType::kRegular;
  }
}

void Inode::SetPermissions(uint32_t permissions) {
  raw.i_mode = static_cast<uint16_t>((raw.i_mode & LINUX_S_IFMT) | (permissions & 07777));
}

void Inode::SetOwner(uint32_t uid, uint32_t gid) {
  raw.i_uid = static_cast<uint16_t>(uid);
  raw.osd2.linux2.l_i_uid_high = static_cast<uint16_t>(uid >> 16);
  raw.i_gid = static_cast<uint16_t>(gid);
  raw.osd2.linux2.l_i_gid_high = static_cast<uint16_t>(gid >> 16);
}

void Inode::SetAccessTime(Timestamp time) { EncodeTime(raw, time, raw.i_atime, raw.i_atime_extra); }
void Inode::SetModifyTime(Timestamp time) { EncodeTime(raw, time, raw.i_mtime, raw.i_mtime_extra); }
void Inode::SetChangeTime(Timestamp time) { EncodeTime(raw, time, raw.i_ctime, raw.i_ctime_extra); }
void Inode::SetBirthTime(Timestamp time) {
  if (HasField(raw, &raw.i_crtime, sizeof raw.i_crtime)) EncodeTime(raw, time, raw.i_crtime, raw.i_crtime_extra);
}

uint8_t DirectoryEntryType(FileType type) {
  switch (type) {
    case FileType::kRegular:
      return EXT2_FT_REG_FILE;
    case FileType::kDirectory:
      return EXT2_FT_DIR;
    case FileType::kSymlink:
      return EXT2_FT_SYMLINK;
    case FileType::kCharacterDevice:
      return EXT2_FT_CHRDEV;
    case FileType::kBlockDevice:
      return EXT2_FT_BLKDEV;
    case FileType::kFifo:
      return EXT2_FT_FIFO;
    case FileType::kSocket:
      return EXT2_FT_SOCK;
  }
  return EXT2_FT_UNKNOWN;
}

uint16_t ModeOf(FileType type, uint32_t permissions) {
  static constexpr uint16_t kFormats[] = {LINUX_S_IFREG, LINUX_S_IFDIR, LINUX_S_IFLNK, LINUX_S_IFCHR,
                                          LINUX_S_IFBLK, LINUX_S_IFIFO, LINUX_S_IFSOCK};
  return static_cast<uint16_t>(kFormats[static_cast<size_t>(type)] | (permissions & 07777));
}

Timestamp TreeClock::Now() const {
  if (fixed_.has_value()) return *fixed_;
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return {now.tv_sec, static_cast<uint32_t>(now.tv_nsec)};
}

size_t InodeStore::field_bytes() const {
  return std::min<size_t>(EXT2_INODE_SIZE(filesystem_.raw()->super), sizeof(ext2_inode_large));
}

Result<Inode> InodeStore::Load(ext2_ino_t number) {
  Inode inode{.number = number};
  ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(
      ext2fs_read_inode_full(filesystem_.raw(), number, inode.base(), static_cast<int>(field_bytes())), "read inode",
      std::to_string(number)));
  if (field_bytes() <= EXT2_GOOD_OLD_INODE_SIZE) inode.raw.i_extra_isize = 0;
  if (inode.raw.i_links_count == 0 || inode.raw.i_mode == 0) {
    return Status::Corrupt("read inode " + std::to_string(number), "a directory names it, but it is free");
  }
  return inode;
}

Status InodeStore::Save(Inode& inode) {
  return filesystem_.Check(
      ext2fs_write_inode_full(filesystem_.raw(), inode.number, inode.base(), static_cast<int>(field_bytes())),
      "write inode", std::to_string(inode.number));
}

Status InodeStore::SaveChanged(Inode& inode) {
  inode.SetChangeTime(clock_.Now());
  return Save(inode);
}

Result<Inode> InodeStore::Allocate(ext2_ino_t directory, FileType type, const Attributes& attributes) {
  ext2_filsys fs = filesystem_.raw();
  Inode inode;
  const uint16_t mode = ModeOf(type, attributes.permissions);
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_new_inode(fs, directory, mode, nullptr, &inode.number), "make a file in"));
  ext2fs_inode_alloc_stats2(fs, inode.number, +1, type == FileType::kDirectory ? 1 : 0);

  inode.raw.i_mode = mode;
  inode.raw.i_links_count = type == FileType::kDirectory ? 2 : 1;
  if (EXT2_INODE_SIZE(fs->super) > EXT2_GOOD_OLD_INODE_SIZE) {
    inode.raw.i_extra_isize = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
  }
  const Timestamp now = clock_.Now();
  inode.SetOwner(attributes.uid, attributes.gid);
  inode.SetModifyTime(attributes.mtime.value_or(now));
  inode.SetAccessTime(attributes.atime.value_or(attributes.mtime.value_or(now)));
  inode.SetChangeTime(now);
  inode.SetBirthTime(now);
  return inode;
}

Status InodeStore::SaveNew(const Inode& inode) {
  const size_t inode_bytes = EXT2_INODE_SIZE(filesystem_.raw()->super);
  std::vector<char> whole(inode_bytes, 0);
  std::memcpy(whole.data(), &inode.raw, field_bytes());
  return filesystem_.Check(
      ext2fs_write_inode_full(filesystem_.raw(), inode.number, reinterpret_cast<ext2_inode*>(whole.data()),
                              static_cast<int>(inode_bytes)),
      "write inode", std::to_string(inode.number));
}

Status InodeStore::Free(const Inode& inode) {
  ext2fs_inode_alloc_stats2(filesystem_.raw(), inode.number, -1, inode.is_directory() ? 1 : 0);
  return SaveNew(Inode{.number = inode.number});
}

FileStat InodeStore::StatOf(const Inode& inode) const {
  const ext2_inode_large& raw = inode.raw;
  FileStat stat{
      .type = inode.type(),
      .permissions = raw.i_mode & 07777u,
      .uid = inode.uid(),
      .gid = inode.gid(),
      .size_bytes = inode.size_bytes(),
      .allocated_bytes = ext2fs_get_stat_i_blocks(filesystem_.raw(), const_cast<ext2_inode*>(inode.base())) * 512,
      .link_count = raw.i_links_count,
      .inode = inode.number,
      .generation = raw.i_generation,
      .flags = raw.i_flags,
      .atime = DecodeTime(raw, raw.i_atime, raw.i_atime_extra),
      .mtime = DecodeTime(raw, raw.i_mtime, raw.i_mtime_extra),
      .ctime = DecodeTime(raw, raw.i_ctime, raw.i_ctime_extra)};
  if (HasField(raw, &raw.i_crtime, sizeof raw.i_crtime)) {
    stat.birth_time = DecodeTime(raw, raw.i_crtime, raw.i_crtime_extra);
  }
  if (HasField(raw, &raw.i_projid, sizeof raw.i_projid)) stat.project = raw.i_projid;
  if (stat.type == FileType::kCharacterDevice || stat.type == FileType::kBlockDevice) stat.device = DecodeDevice(raw);
  return stat;
}

}  // namespace rootloom
