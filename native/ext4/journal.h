// Replays the journal of an ext4 filesystem that was not unmounted, as the kernel would on the next mount.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "native/block/device.h"
#include "native/ext4/engine.h"
#include "native/ext4/io_counts.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

struct ReplayReport {
  bool replayed = false;                // there was something to do, and it is done
  std::vector<E2fsckProblem> problems;  // what was put right besides: orphaned inodes, stale superblock fields
  IoCounts io;                          // of the replay and what prepared it
};

// Replays the journal and releases orphaned inodes, when there are any; a clean filesystem is not touched.
// time is what is written as the time, default now. Fails with kCorrupt when the journal or the superblock is broken:
// then nothing but a repair helps, and the device may hold a part of the journal.
Result<ReplayReport> ReplayJournal(std::shared_ptr<Device> device, std::optional<int64_t> time,
                                   const CallContext& context);

}  // namespace rootloom
