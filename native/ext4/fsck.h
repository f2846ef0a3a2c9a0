// Checks and repairs an ext4 filesystem with e2fsck itself: all its passes, its verdict as data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/ext4/engine.h"
#include "native/ext4/io_counts.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

struct FsckRequest {
  bool repair = false;          // as -fy; else as -fn, which writes nothing
  std::optional<int64_t> time;  // seconds since 1970, where e2fsck writes or compares the time; default: now
};

// e2fsck's exit bits: 1 errors corrected, 4 errors left, 8 operational error (as for what is not a filesystem at all).
struct FsckReport {
  int exit_bits = 0;
  std::vector<E2fsckProblem> problems;  // in the order of finding; the first kMaxProblems of problem_count
  uint64_t problem_count = 0;
  std::string output;  // the text that e2fsck would have printed
  IoCounts io;

  bool clean() const { return exit_bits == 0; }
};

// Runs the check on any content of device. A broken filesystem is a report, not a failure; it fails when the device
// does, with kCancelled, and with kIo (EROFS) when it shall repair a device that is not writable. Only one check runs
// at a time in a process; others wait for it. The writes of a repair are in the device, and durable after its next
// flush. Progress counts the units of e2fsck's passes.
Result<FsckReport> Fsck(std::shared_ptr<Device> device, const FsckRequest& request, const CallContext& context);

}  // namespace rootloom
