#include "native/ext4/inode_scan.h"

#include <vector>

namespace rootloom {

namespace {

constexpr const char* kOperation = "read the inodes of";
constexpr int kScanBufferBytes = 1 << 20;
constexpr ext2_ino_t kInodesBetweenStops = 1024;

struct Scan {
  ext2_inode_scan handle = nullptr;
  ~Scan() {
    if (handle != nullptr) ext2fs_close_inode_scan(handle);
  }
};

bool IsOwn(const ext2_super_block& super, ext2_ino_t number) {
  if (number == EXT2_ROOT_INO) return false;
  if (number < EXT2_FIRST_INODE(&super)) return true;
  return number == super.s_prj_quota_inum || number == super.s_orphan_file_inum || number == super.s_usr_quota_inum ||
         number == super.s_grp_quota_inum || number == super.s_journal_inum;
}

}  // namespace

Status ForEachInode(Filesystem& filesystem, const CallContext& context,
                    const std::function<Status(const ScannedInode&)>& visit) {
  ext2_filsys fs = filesystem.raw();
  // A multiple of eight bytes, as the fields need.
  const size_t inode_bytes = EXT2_INODE_SIZE(fs->super);
  std::vector<uint64_t> buffer(std::max(inode_bytes, sizeof(ext2_inode_large)) / sizeof(uint64_t));
  auto* inode = reinterpret_cast<ext2_inode*>(buffer.data());
  Scan scan;
  ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(
      ext2fs_open_inode_scan(fs, kScanBufferBytes / static_cast<int>(fs->blocksize), &scan.handle), kOperation));
  for (;;) {
    ext2_ino_t number = 0;
    ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(
        ext2fs_get_next_inode_full(scan.handle, &number, inode, static_cast<int>(inode_bytes)), kOperation));
    if (number == 0) return Status::Ok();
    if (number % kInodesBetweenStops == 0) ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kOperation));
    if (inode->i_links_count == 0 || inode->i_mode == 0 || IsOwn(*fs->super, number)) continue;
    const std::span<const std::byte> raw(reinterpret_cast<const std::byte*>(buffer.data()),
                                         buffer.size() * sizeof(uint64_t));
    ROOTLOOM_RETURN_IF_ERROR(visit({.number = number, .raw = raw}));
  }
}

}  // namespace rootloom
