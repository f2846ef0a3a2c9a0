// LateDevice: a device that is yet to be chosen. It is empty until then, so nobody can have read of it what the chosen
// one does not hold.
#pragma once

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/block/device.h"

namespace rootloom::nbd {

class LateDevice final : public Device {
 public:
  // From now on every call goes to device. Once.
  void Choose(std::shared_ptr<Device> device) {
    owner_ = std::move(device);
    chosen_.store(owner_.get(), std::memory_order_release);
  }

  std::string name() const override { return chosen() != nullptr ? chosen()->name() : "device to be chosen"; }
  uint64_t size_bytes() const override { return chosen() != nullptr ? chosen()->size_bytes() : 0; }
  uint32_t block_size() const override { return chosen() != nullptr ? chosen()->block_size() : kDefaultBlockSize; }
  bool writable() const override { return chosen() == nullptr || chosen()->writable(); }
  Status Flush() override { return chosen() != nullptr ? chosen()->Flush() : Status::Ok(); }

 protected:
  // The range is within the size, so a device has been chosen.
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override {
    return chosen()->Read(offset_bytes, buffer);
  }
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override {
    return chosen()->Write(offset_bytes, data, durability);
  }
  void DoWriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes) override {
    chosen()->WriteRow(offset_bytes, row, durability, outcomes);
  }
  Status DoZero(Range range, Durability durability) override { return chosen()->Zero(range, durability); }
  Status DoTrim(Range range) override { return chosen()->Trim(range); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override {
    return chosen()->Extents(range, max_count);
  }

 private:
  Device* chosen() const { return chosen_.load(std::memory_order_acquire); }

  std::shared_ptr<Device> owner_;
  std::atomic<Device*> chosen_{nullptr};
};

}  // namespace rootloom::nbd
