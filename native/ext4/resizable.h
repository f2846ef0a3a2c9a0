// What may be resized: the rules that resize2fs leaves to its user, or has wrong.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "native/block/device.h"
#include "native/ext4/filesystem.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

inline constexpr const char* kResizeOperation = "resize the filesystem of";

// The failure of a resize of that filesystem.
Failure RefuseResize(StatusKind kind, Filesystem& filesystem, std::string detail);

// Opens a filesystem whose size may be changed, and sets its free counts to the sums of its groups'. Fails with
// kUnsupported when its journal must be replayed first, or for a feature with which resize2fs is not safe; with
// kCorrupt when it is not clean.
Result<std::unique_ptr<Filesystem>> OpenForResize(std::shared_ptr<Device> device, bool writable,
                                                  const CallContext& context);

// The most blocks, whatever its device has, that resize2fs can give this filesystem: within 16 TiB, and what its
// numbers of blocks, inodes and descriptors can express.
uint64_t LargestResizeTarget(ext2_filsys fs);

// Fails with kUnsupported for a size that this filesystem cannot have, and with kInvalidArgument for one that its
// device does not have.
Status CheckResizeTarget(Filesystem& filesystem, uint64_t target_blocks);

}  // namespace rootloom
