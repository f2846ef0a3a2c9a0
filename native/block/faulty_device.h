// FaultyDevice: a device that fails on plan, and that can lose power.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "native/block/operation.h"

namespace rootloom {

// One line of the plan. Matching operations are counted from when the fault was armed: the first `skip` of them pass
// unharmed, the next `count` are hit, and all later ones pass.
struct Fault {
  std::optional<OperationKind> kind;  // absent: any
  Range range{0, UINT64_MAX};         // operations that touch it; a flush touches every range
  uint64_t skip = 0;
  uint64_t count = UINT64_MAX;
  std::chrono::milliseconds delay{0};  // before anything else happens
  int error_number = 0;                // fail with this; 0: only delay
};

// Without a plan it passes everything on unchanged.
class FaultyDevice final : public Device {
 public:
  enum class Cache : uint8_t {
    kNone,      // a write that returned is on the device below
    kVolatile,  // until the next successful flush (or FUA) it is lost by Crash
  };

  // Shares ownership of inner, which nobody else may change while Cache::kVolatile is used.
  explicit FaultyDevice(std::shared_ptr<Device> inner, Cache cache = Cache::kNone)
      : inner_(std::move(inner)), cache_(cache) {}

  std::string name() const override { return inner_->name(); }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  uint32_t block_size() const override { return inner_->block_size(); }
  bool writable() const override { return inner_->writable(); }
  Status Flush() override;

  // Adds to the plan. An operation is hit by the first fault, in the order of arming, that fits.
  void Arm(const Fault& fault);
  // Forgets the plan.
  void Disarm();
  // How many operations were hit since the device was made.
  uint64_t hit_count() const;

  // The power goes: what was not flushed vanishes from the device below, and every later operation here fails with
  // EIO. Fails when the device below cannot be put back. REQUIRES: Cache::kVolatile
  Status Crash();

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  // Never hit: a hint cannot fail.
  void DoPrefetch(std::span<const Range> ranges) override { inner_->Prefetch(ranges); }

 private:
  struct Armed {
    Fault fault;
    uint64_t matched = 0;
  };
  // Waits as long as the plan says, and says whether the operation fails.
  Status Judge(const Operation& operation);
  // Carries out a write, zero or trim. data is what the range will hold, empty for zeros.
  Status Change(const Operation& operation, std::span<const std::byte> data, const std::function<Status()>& change);
  // Keeps the durable content of each block that range touches, unless it is kept already.
  Status KeepDurable(Range range);
  // Puts data into the kept blocks: it has become durable.
  void UpdateDurable(Range range, std::span<const std::byte> data);
  Range RangeOfBlock(uint64_t block) const;

  const std::shared_ptr<Device> inner_;
  const Cache cache_;
  mutable std::mutex plan_mutex_;
  std::vector<Armed> plan_;  // protected by plan_mutex_
  uint64_t hit_count_ = 0;   // protected by plan_mutex_

  std::atomic<bool> crashed_ = false;  // set under change_mutex_

  // With Cache::kVolatile changes run one at a time, under this.
  std::mutex change_mutex_;
  // For each block changed since the last flush: what a crash leaves there. Empty for zeros.
  std::map<uint64_t, std::vector<std::byte>> durable_;  // protected by change_mutex_
};

}  // namespace rootloom
