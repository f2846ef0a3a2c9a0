// StagedDevice: keeps what is written to it beside a device until it is committed.
#pragma once

#include <memory>
#include <shared_mutex>
#include <string>

#include "native/block/overlay_device.h"
#include "native/util/call_context.h"

namespace rootloom {

class StagedDevice final : public Device {
 public:
  // Shares device, which nobody else may write to. Files without names are made beside scratch_path.
  static Result<std::shared_ptr<StagedDevice>> Create(std::shared_ptr<Device> device, std::string scratch_path);

  std::string name() const override { return device_->name(); }
  uint64_t size_bytes() const override { return device_->size_bytes(); }
  uint32_t block_size() const override { return device_->block_size(); }
  bool writable() const override { return true; }
  // Nothing is promised of what is not committed.
  Status Flush() override { return Status::Ok(); }

  // Brings what was written into the device, and flushes that. Other operations wait. Fails, having changed nothing,
  // when anything that was written may be missing, and when the stop token is triggered; when the device fails, a part
  // is done, and all of it is still here, for another try.
  Status Commit(const CallContext& context);

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  void DoPrefetch(std::span<const Range> ranges) override { device_->Prefetch(ranges); }

 private:
  StagedDevice(std::shared_ptr<Device> device, std::string scratch_path, std::shared_ptr<OverlayDevice> overlay)
      : device_(std::move(device)), scratch_path_(std::move(scratch_path)), overlay_(std::move(overlay)) {}

  const std::shared_ptr<Device> device_;
  const std::string scratch_path_;
  // Shared by operations, alone for a commit.
  std::shared_mutex mutex_;
  std::shared_ptr<OverlayDevice> overlay_;  // protected by mutex_
};

}  // namespace rootloom
