#include "native/isolation/isolated_ext4.h"

#include <cerrno>

#include "native/isolation/served_disk.h"

namespace rootloom::isolated {

namespace {

// The value of an operation that changes nothing.
template <typename T>
Result<T> Read(HelperRequest request, const DevicePtr& device, const IsolationOptions& options,
               const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(HelperValue value,
                            RunHelper({.request = std::move(request), .device = device}, options, context));
  return std::get<T>(std::move(value));
}

// The value of an operation that changes the device, once the changes are in it.
template <typename T>
Result<T> Change(HelperRequest request, const DevicePtr& device, const IsolationOptions& options,
                 const CallContext& context) {
  request.device.name = device->name();
  request.device.writable = true;
  ROOTLOOM_ASSIGN_OR_RETURN(const auto overlay, MakeOverlayOn(device, options.scratch_path + "-changes"));
  ROOTLOOM_ASSIGN_OR_RETURN(T value, Read<T>(std::move(request), overlay, options, context));
  ROOTLOOM_RETURN_IF_ERROR(overlay->CopyChangesTo(*device, context));
  return value;
}

}  // namespace

Result<Ext4Stats> ReadStats(DevicePtr device, const IsolationOptions& options, const CallContext& context) {
  return Read<Ext4Stats>({.operation = HelperOperation::kStats}, device, options, context);
}

Result<FsckReport> Fsck(DevicePtr device, const FsckRequest& request, const IsolationOptions& options,
                        const CallContext& context) {
  HelperRequest helper{.operation = HelperOperation::kFsck, .time = request.time, .repair = request.repair};
  if (!request.repair) return Read<FsckReport>(std::move(helper), device, options, context);
  if (!device->writable()) return Status::Errno("repair the filesystem of", device->name(), EROFS);
  return Change<FsckReport>(std::move(helper), device, options, context);
}

Result<ReplayReport> ReplayJournal(DevicePtr device, std::optional<int64_t> time, const IsolationOptions& options,
                                   const CallContext& context) {
  return Change<ReplayReport>({.operation = HelperOperation::kReplayJournal, .time = time}, device, options, context);
}

Result<ResizeReport> Resize(DevicePtr device, const ResizeRequest& request, const IsolationOptions& options,
                            const CallContext& context) {
  return Change<ResizeReport>(
      {.operation = HelperOperation::kResize, .time = request.time, .size_bytes = request.size_bytes}, device, options,
      context);
}

Result<uint64_t> MinimumSize(DevicePtr device, const IsolationOptions& options, const CallContext& context) {
  return Read<uint64_t>({.operation = HelperOperation::kMinimumSize}, device, options, context);
}

Result<uint64_t> SizeForFreeSpace(DevicePtr device, const FreeSpaceRequest& request, const IsolationOptions& options,
                                  const CallContext& context) {
  return Read<uint64_t>({.operation = HelperOperation::kSizeForFree, .free_space = request}, device, options, context);
}

Result<RebuildReport> Rebuild(DevicePtr source, DevicePtr target, const RebuildRequest& request,
                              const IsolationOptions& options, const CallContext& context) {
  std::vector<ContentRun> runs;
  HelperJob job{
      .request = {.operation = HelperOperation::kRebuild, .time = request.time},
      .device = std::move(source),
      .target = std::move(target),
      .take_runs =
          [&runs](std::vector<ContentRun> more) {
            runs.insert(runs.end(), more.begin(), more.end());
            return Status::Ok();
          },
  };
  ROOTLOOM_ASSIGN_OR_RETURN(HelperValue value, RunHelper(std::move(job), options, context));
  auto report = std::get<RebuildReport>(std::move(value));
  report.runs = std::move(runs);
  return report;
}

Result<uint64_t> RebuiltSize(DevicePtr source, uint64_t free_bytes, const IsolationOptions& options,
                             const CallContext& context) {
  return Read<uint64_t>({.operation = HelperOperation::kRebuiltSize, .free_space = {.available_bytes = free_bytes}},
                        source, options, context);
}

}  // namespace rootloom::isolated
