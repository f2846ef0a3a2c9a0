#include "native/isolation/helper/operations.h"

#include "native/block/memory_device.h"

namespace rootloom {

namespace {

template <typename T>
HelperAnswer ToAnswer(Result<T> result) {
  if (!result.ok()) return result.status();
  return HelperValue(std::move(result).value());
}

Result<RebuildReport> RebuildOn(const HelperTask& task, const CallContext& context) {
  if (task.target == nullptr) return Status::Invalid("run the helper", "a rebuild has no target");
  ROOTLOOM_ASSIGN_OR_RETURN(RebuildReport report,
                            Rebuild(task.device, task.target, {.time = task.request.time}, MakeMemoryDevice, context));
  for (std::span<const ContentRun> rest = report.runs; !rest.empty();) {
    const auto part = rest.first(std::min(rest.size(), kMaxRunsAtOnce));
    ROOTLOOM_RETURN_IF_ERROR(task.give_runs(part));
    rest = rest.subspan(part.size());
  }
  report.runs = {};
  return report;
}

}  // namespace

HelperAnswer RunOperation(const HelperTask& task, const CallContext& context) {
  const HelperRequest& request = task.request;
  switch (request.operation) {
    case HelperOperation::kStats:
      return ToAnswer(ReadStats(task.device, context));
    case HelperOperation::kFsck:
      return ToAnswer(Fsck(task.device, {.repair = request.repair, .time = request.time}, context));
    case HelperOperation::kReplayJournal:
      return ToAnswer(ReplayJournal(task.device, request.time, context));
    case HelperOperation::kResize:
      return ToAnswer(
          Resize(task.device, {.size_bytes = request.size_bytes, .time = request.time}, task.make_scratch, context));
    case HelperOperation::kMinimumSize:
      return ToAnswer(MinimumSize(task.device, task.make_scratch, context));
    case HelperOperation::kSizeForFree:
      return ToAnswer(SizeForFreeSpace(task.device, request.free_space, context));
    case HelperOperation::kRebuild:
      return ToAnswer(RebuildOn(task, context));
    case HelperOperation::kRebuiltSize:
      return ToAnswer(RebuiltSize(task.device, request.free_space.available_bytes, MakeMemoryDevice, context));
    case HelperOperation::kTree:
      break;
  }
  return Status::Invalid("run the helper", "its operation is unknown");
}

}  // namespace rootloom
