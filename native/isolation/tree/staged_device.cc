#include "native/isolation/tree/staged_device.h"

#include <mutex>

#include "native/isolation/served_disk.h"

namespace rootloom {

namespace {

Result<std::shared_ptr<OverlayDevice>> MakeStage(const std::shared_ptr<Device>& device,
                                                 const std::string& scratch_path) {
  return MakeOverlayOn(device, scratch_path + "-stage");
}

}  // namespace

Result<std::shared_ptr<StagedDevice>> StagedDevice::Create(std::shared_ptr<Device> device, std::string scratch_path) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto overlay, MakeStage(device, scratch_path));
  return std::shared_ptr<StagedDevice>(
      new StagedDevice(std::move(device), std::move(scratch_path), std::move(overlay)));
}

Status StagedDevice::Commit(const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("write the changes to the disk"));
  std::unique_lock lock(mutex_);
  // Not to be stopped any more, so that the device is as it was or as it shall be.
  const CallContext unstopped{.stop = {}, .report = context.report};
  ROOTLOOM_RETURN_IF_ERROR(overlay_->CopyChangesTo(*device_, unstopped));
  ROOTLOOM_RETURN_IF_ERROR(device_->Flush());
  const auto [data_blocks, zero_blocks] = overlay_->Stats();
  if (data_blocks + zero_blocks == 0) return Status::Ok();
  // Without a new one the old one stays: it does not differ from the device.
  auto next = MakeStage(device_, scratch_path_);
  if (next.ok()) overlay_ = std::move(next).value();
  return Status::Ok();
}

Status StagedDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  std::shared_lock lock(mutex_);
  return overlay_->Read(offset_bytes, buffer);
}

Status StagedDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability /*durability*/) {
  std::shared_lock lock(mutex_);
  return overlay_->Write(offset_bytes, data);
}

Status StagedDevice::DoZero(Range range, Durability /*durability*/) {
  std::shared_lock lock(mutex_);
  return overlay_->Zero(range);
}

Status StagedDevice::DoTrim(Range range) {
  std::shared_lock lock(mutex_);
  return overlay_->Trim(range);
}

Result<std::vector<Extent>> StagedDevice::DoExtents(Range range, size_t max_count) {
  std::shared_lock lock(mutex_);
  return overlay_->Extents(range, max_count);
}

}  // namespace rootloom
