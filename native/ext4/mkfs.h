// Makes an empty ext4 filesystem, by one profile that is meant to be resized and sealed.
//
// 4 KiB blocks; one inode of 256 bytes for 16 KiB; no reserved blocks (a template's disk has no root that must survive
// a full disk, and every reserved byte would count against the requested free space); no periodic checks; has_journal,
// ext_attr, resize_inode, dir_index, filetype, extent, 64bit, flex_bg (16 groups), sparse_super, large_file, huge_file,
// dir_nlink, extra_isize, metadata_csum. The resize inode keeps room for the group descriptors of a filesystem 1024
// times as large (up to 16 TiB), so that growing moves nothing. orphan_file and metadata_csum_seed are left out for
// kernels and checkers that do not know them.
//
// The journal lies in front and has at most 64 MiB. mke2fs puts it in the middle, with up to 1 GiB: it would have to be
// moved by most shrinks, and take up a quarter of what a shrunk disk has.
//
// Equal requests give equal bytes. Inode tables and journal are not written where the device reads as zeros already.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "native/block/device.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// Of the profile.
inline constexpr uint64_t kMkfsBlockBytes = 4096;

struct MkfsRequest {
  std::array<uint8_t, 16> uuid{};
  std::array<uint8_t, 16> hash_seed{};  // of the directory indexes
  std::string label;                    // at most 16 bytes
  std::optional<uint64_t> size_bytes;   // default: the device's; rounded down to whole blocks
  std::optional<int64_t> time;          // seconds since 1970, wherever a time is written; default: now
  uint32_t least_inode_count = 0;       // more than the profile's share of the size, where that is less
  // Makes no directories, not even the root: the filesystem is broken until whoever asked for it has made them.
  bool without_directories = false;
};

inline constexpr uint64_t kMinimumExt4Bytes = 16 << 20;

// Replaces the whole content of the first size_bytes of device: what is data there is zeroed first. Returns the size of
// the filesystem, which is smaller than asked for when the last block group would be too small to be of use.
// Fails with kTooSmall below kMinimumExt4Bytes. After a failure the device holds something in between. The writes
// are in the device, and durable after its next flush.
Result<uint64_t> MakeFilesystem(std::shared_ptr<Device> device, const MkfsRequest& request, const CallContext& context);

}  // namespace rootloom
