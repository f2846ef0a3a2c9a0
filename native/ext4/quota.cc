#include "native/ext4/quota.h"

#include <array>
#include <unordered_map>

#include "native/ext4/engine.h"
#include "native/ext4/filesystem.h"
#include "native/ext4/inode_scan.h"

namespace rootloom {

namespace {

constexpr const char* kOperation = "update the quota files of";
constexpr uint64_t kSectorBytes = 512;

// Bytes by owner, for users, groups and projects.
using Usage = std::array<std::unordered_map<uint32_t, uint64_t>, 3>;

uint32_t ProjectOf(const ext2_inode_large& inode) {
  const bool has_project = ext2fs_inode_includes(EXT2_GOOD_OLD_INODE_SIZE + inode.i_extra_isize, i_projid);
  return has_project ? inode.i_projid : 0;
}

// The value of an attribute in an inode of its own is charged, by its length, to the files that have the attribute.
Result<Usage> ReadUsage(Filesystem& filesystem, const CallContext& context) {
  Usage usage;
  ROOTLOOM_RETURN_IF_ERROR(ForEachInode(filesystem, context, [&](const ScannedInode& scanned) {
    if (scanned.is_attribute()) return Status::Ok();
    ext2_inode_large inode = scanned.fields();
    const uint64_t bytes =
        ext2fs_get_stat_i_blocks(filesystem.raw(), reinterpret_cast<ext2_inode*>(&inode)) * kSectorBytes;
    usage[0][inode_uid(inode)] += bytes;
    usage[1][inode_gid(inode)] += bytes;
    usage[2][ProjectOf(inode)] += bytes;
    return Status::Ok();
  }));
  return usage;
}

unsigned long long SpaceOf(void* owner, int type, unsigned id) {
  const auto& bytes = (*static_cast<const Usage*>(owner))[static_cast<size_t>(type)];
  const auto found = bytes.find(id);
  return found == bytes.end() ? 0 : found->second;
}

}  // namespace

Status UpdateQuota(std::shared_ptr<Device> device, int64_t time, IoCounts& counts, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto filesystem, Filesystem::Open(std::move(device), {.writable = true}, context));
  filesystem->SetTime(time);
  ROOTLOOM_ASSIGN_OR_RETURN(Usage usage, ReadUsage(*filesystem, context));
  const rootloom_quota_usage callbacks = {.owner = &usage, .space_of = SpaceOf};
  const errcode_t code = RunQuotaUpdate(filesystem->io(), filesystem->raw(), callbacks, context);
  ROOTLOOM_RETURN_IF_ERROR(filesystem->Check(code, kOperation));
  ROOTLOOM_RETURN_IF_ERROR(filesystem->Close());
  counts += filesystem->io().counts();
  return Status::Ok();
}

}  // namespace rootloom
