// RemapDevice: a read-only device whose ranges are ranges of another one, in another order.
//
// What an overlay of a rebuilt disk lies over: file data stays where the source has it, and is seen at its new place.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/block/device.h"

namespace rootloom {

// length_bytes at offset_bytes of the new device are those at source_offset_bytes of the source.
struct RemapRun {
  uint64_t offset_bytes = 0;
  uint64_t source_offset_bytes = 0;
  uint64_t length_bytes = 0;
  uint64_t end_bytes() const { return offset_bytes + length_bytes; }
  bool operator==(const RemapRun&) const = default;
};

// All of it reads as zeros until Map has set the runs, and after that what lies between them. Runs may begin and end
// at any byte.
class RemapDevice final : public Device {
 public:
  // Shares ownership of source, which must not change while the device exists.
  static Result<std::shared_ptr<RemapDevice>> Create(std::shared_ptr<Device> source, uint64_t size_bytes);

  // Sets the runs, once: they are ascending, do not overlap, and lie inside both devices. Fails with kInvalidArgument
  // for others, and the second time. May be called while others read: each read sees all runs or none.
  Status Map(std::vector<RemapRun> runs);

  std::string name() const override { return "new layout of " + source_->name(); }
  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t block_size() const override { return kDefaultBlockSize; }
  bool writable() const override { return false; }
  Status Flush() override { return Status::Ok(); }

  const std::shared_ptr<Device>& source() const { return source_; }
  // Empty before Map.
  std::span<const RemapRun> runs() const;

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  // Holes between the runs; inside them what the source says.
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;

 private:
  RemapDevice(std::shared_ptr<Device> source, uint64_t size_bytes)
      : source_(std::move(source)), size_bytes_(size_bytes) {}

  const std::shared_ptr<Device> source_;
  const uint64_t size_bytes_;
  std::atomic_flag mapping_;  // taken by the first Map
  std::vector<RemapRun> runs_;
  std::atomic<bool> mapped_ = false;  // set after runs_, which never changes again
};

}  // namespace rootloom
