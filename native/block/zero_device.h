// ZeroDevice: a read-only device of zeros; what an overlay of a new, empty disk lies over.
#pragma once

#include <memory>

#include "native/block/device.h"

namespace rootloom {

class ZeroDevice final : public Device {
 public:
  static Result<std::shared_ptr<ZeroDevice>> Create(uint64_t size_bytes, uint32_t block_size = kDefaultBlockSize);

  std::string name() const override { return "zero device"; }
  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t block_size() const override { return block_size_; }
  bool writable() const override { return false; }
  Status Flush() override { return Status::Ok(); }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  // One hole. The three writing calls are never reached: the device is not writable.
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;

 private:
  ZeroDevice(uint64_t size_bytes, uint32_t block_size) : size_bytes_(size_bytes), block_size_(block_size) {}

  const uint64_t size_bytes_;
  const uint32_t block_size_;
};

}  // namespace rootloom
