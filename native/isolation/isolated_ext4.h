// The engine's operations in a helper process: what native/ext4 offers under the same names, for filesystems that
// nobody vouches for.
//
// A helper that crashes, hangs or lies is kEngineCrashed. The device changes only after the helper has succeeded: until
// then everything that it writes is in an overlay of its own, and what is given up with a failure is that overlay. Only
// the copying of its changes into the device, at the end, can leave something half done: when the device fails then, or
// the stop token is triggered. Beyond that each function fails as its namesake does.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "native/ext4/free_space.h"
#include "native/ext4/fsck.h"
#include "native/ext4/journal.h"
#include "native/ext4/rebuild/rebuild.h"
#include "native/ext4/resize.h"
#include "native/ext4/stats.h"
#include "native/isolation/supervisor.h"

namespace rootloom::isolated {

using DevicePtr = std::shared_ptr<Device>;

Result<Ext4Stats> ReadStats(DevicePtr device, const IsolationOptions& options, const CallContext& context);

Result<FsckReport> Fsck(DevicePtr device, const FsckRequest& request, const IsolationOptions& options,
                        const CallContext& context);

Result<ReplayReport> ReplayJournal(DevicePtr device, std::optional<int64_t> time, const IsolationOptions& options,
                                   const CallContext& context);

Result<ResizeReport> Resize(DevicePtr device, const ResizeRequest& request, const IsolationOptions& options,
                            const CallContext& context);

Result<uint64_t> MinimumSize(DevicePtr device, const IsolationOptions& options, const CallContext& context);

Result<uint64_t> SizeForFreeSpace(DevicePtr device, const FreeSpaceRequest& request, const IsolationOptions& options,
                                  const CallContext& context);

// Writes to target itself, which is of no use after a failure: as with its namesake.
Result<RebuildReport> Rebuild(DevicePtr source, DevicePtr target, const RebuildRequest& request,
                              const IsolationOptions& options, const CallContext& context);

Result<uint64_t> RebuiltSize(DevicePtr source, uint64_t free_bytes, const IsolationOptions& options,
                             const CallContext& context);

}  // namespace rootloom::isolated
