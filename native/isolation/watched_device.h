// WatchedDevice: passes everything on to another device, keeps its first failure, and tells whether it is in use.
//
// The helper sees a failure only as one of NBD's few error numbers; the owner reports the real one. And a helper that
// waits for a slow device is not one that hangs.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "native/block/device.h"

namespace rootloom {

class WatchedDevice final : public Device {
 public:
  explicit WatchedDevice(std::shared_ptr<Device> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  uint32_t block_size() const override { return inner_->block_size(); }
  bool writable() const override { return inner_->writable(); }
  Status Flush() override;

  // The first failure of any call that was not taken.
  std::optional<Failure> first_failure() const;
  // The first failure since this was last called.
  std::optional<Failure> TakeFailure();
  // Counts calls that have ended.
  uint64_t activity() const { return activity_.load(std::memory_order_relaxed); }
  bool busy() const { return running_.load(std::memory_order_relaxed) > 0; }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;

 private:
  template <typename Operation>
  auto Watch(Operation operation);
  void Note(const Status& status);

  const std::shared_ptr<Device> inner_;
  std::atomic<uint64_t> activity_{0};
  std::atomic<int> running_{0};
  mutable std::mutex mutex_;
  std::optional<Failure> first_failure_;  // protected by mutex_
};

}  // namespace rootloom
