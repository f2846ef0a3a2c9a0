#include "native/ext4/fsck.h"

#include <cerrno>

namespace rootloom {

Result<FsckReport> Fsck(std::shared_ptr<Device> device, const FsckRequest& request, const CallContext& context) {
  if (request.repair && !device->writable()) {
    return Status::Errno("repair the filesystem of", device->name(), EROFS);
  }
  DeviceIo io(std::move(device));
  io.SetStopToken(context.stop);
  const E2fsckMode mode = request.repair ? E2fsckMode::kRepair : E2fsckMode::kCheck;
  ROOTLOOM_ASSIGN_OR_RETURN(E2fsckRun run, RunE2fsck(io, mode, request.time.value_or(Now()), context));
  return FsckReport{.exit_bits = run.exit_bits,
                    .problems = std::move(run.problems),
                    .problem_count = run.problem_count,
                    .output = std::move(run.output),
                    .io = io.counts()};
}

}  // namespace rootloom
