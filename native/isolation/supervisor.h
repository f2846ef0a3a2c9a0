// RunHelper: has one operation done by a helper process, and lives through whatever becomes of it.
//
// The calling thread waits for the helper; other threads serve it the device and its scratch copies. Release in reverse
// of acquire: sockets and threads of the disks, helper. End: kill and reap the helper → wait until the operations that
// it began have ended → join the threads.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/isolation/helper_process.h"
#include "native/isolation/messages.h"
#include "native/util/call_context.h"

namespace rootloom {

struct IsolationOptions {
  std::string helper_path;
  // Files are made beside it, whose names vanish at once: what a shrink rehearses, and changes until they are final.
  std::string scratch_path;
  HelperLimits limits = {.memory_bytes = uint64_t{4} << 30, .cpu_seconds = 1800};
  // A helper that neither uses its disk nor reports progress for so long, while its owner's device does not keep it
  // waiting, is taken for one that hangs. It is noticed after twice the time at the latest.
  std::chrono::milliseconds stall_timeout = std::chrono::seconds(60);
};

struct HelperJob {
  // What it says of its devices is filled in here; a name that is given stays.
  HelperRequest request;
  // The helper may write to it when the request and the device say so.
  std::shared_ptr<Device> device;
  // Null, or what a rebuild writes to.
  std::shared_ptr<Device> target = nullptr;
  // Takes a part of what a rebuild finds, by the calling thread; its failure ends the job. Null: there is nothing to be
  // found.
  // Runs lie inside both devices, ascend on the target and do not overlap there.
  std::function<Status(std::vector<ContentRun>)> take_runs = nullptr;
};

// Gives the answer once the helper is gone.
//
// Fails as the operation does; with what the device failed with, when it did; with kEngineCrashed when the helper ends
// without an answer, hangs, or says what makes no sense; with kCancelled, and the helper killed, as soon as the stop
// token is triggered; and when it cannot be started or confined. In all of these the helper may have written to device
// and target.
Result<HelperValue> RunHelper(HelperJob job, const IsolationOptions& options, const CallContext& context);

}  // namespace rootloom
