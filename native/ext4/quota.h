// Quota files: what each owner's files take, as the filesystem itself notes it.
#pragma once

#include <cstdint>
#include <memory>

#include "native/block/device.h"
#include "native/ext4/io_counts.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// Notes in the quota files of the filesystem on device the space that its files take now, for every user, group and
// project that they know. Moving blocks changes it: the blocks of a file's extent tree are its owner's, too. Numbers of
// files, limits and times stay, and nothing is allocated, so that it works on a full filesystem. Adds to counts what is
// read and written. Fails when the device does, with kCancelled, and with kCorrupt for a file that is no quota file.
Status UpdateQuota(std::shared_ptr<Device> device, int64_t time, IoCounts& counts, const CallContext& context);

}  // namespace rootloom
