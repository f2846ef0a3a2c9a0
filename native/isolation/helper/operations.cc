#include "native/isolation/helper/operations.h"

#include "native/ext4/tree.h"

namespace rootloom {

namespace {

constexpr size_t kEntriesAtOnce = 256;

template <typename T>
HelperAnswer ToAnswer(Result<T> result) {
  if (!result.ok()) return result.status();
  return HelperValue(std::move(result).value());
}

Result<uint64_t> Walk(const HelperRequest& request, std::shared_ptr<Device> device, const EntrySink& give_entries,
                      const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const auto tree, Ext4Tree::Open(std::move(device), {}, context));
  ROOTLOOM_ASSIGN_OR_RETURN(const auto walk, tree->StartWalk(request.path, request.detail, context));
  uint64_t count = 0;
  for (;;) {
    ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<WalkEntry> entries, tree->NextOfWalk(*walk, kEntriesAtOnce, context));
    if (entries.empty()) return count;
    count += entries.size();
    ROOTLOOM_RETURN_IF_ERROR(give_entries(entries));
  }
}

}  // namespace

HelperAnswer RunOperation(const HelperRequest& request, std::shared_ptr<Device> device,
                          const ScratchFactory& make_scratch, const EntrySink& give_entries,
                          const CallContext& context) {
  switch (request.operation) {
    case HelperOperation::kStats:
      return ToAnswer(ReadStats(std::move(device), context));
    case HelperOperation::kFsck:
      return ToAnswer(Fsck(std::move(device), {.repair = request.repair, .time = request.time}, context));
    case HelperOperation::kReplayJournal:
      return ToAnswer(ReplayJournal(std::move(device), request.time, context));
    case HelperOperation::kResize:
      return ToAnswer(
          Resize(std::move(device), {.size_bytes = request.size_bytes, .time = request.time}, make_scratch, context));
    case HelperOperation::kMinimumSize:
      return ToAnswer(MinimumSize(std::move(device), make_scratch, context));
    case HelperOperation::kSizeForFree:
      return ToAnswer(SizeForFreeSpace(std::move(device), request.free_space, context));
    case HelperOperation::kWalk:
      return ToAnswer(Walk(request, std::move(device), give_entries, context));
  }
  return Status::Invalid("run the helper", "its operation is unknown");
}

}  // namespace rootloom
