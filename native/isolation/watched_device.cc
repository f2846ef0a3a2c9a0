#include "native/isolation/watched_device.h"

#include <type_traits>
#include <utility>

namespace rootloom {

void WatchedDevice::Note(const Status& status) {
  if (status.ok()) return;
  std::lock_guard lock(mutex_);
  if (!first_failure_) first_failure_ = status.failure();
}

std::optional<Failure> WatchedDevice::first_failure() const {
  std::lock_guard lock(mutex_);
  return first_failure_;
}

std::optional<Failure> WatchedDevice::TakeFailure() {
  std::lock_guard lock(mutex_);
  return std::exchange(first_failure_, std::nullopt);
}

template <typename Operation>
auto WatchedDevice::Watch(Operation operation) {
  running_.fetch_add(1, std::memory_order_relaxed);
  auto result = operation();
  if constexpr (std::is_same_v<decltype(result), Status>) {
    Note(result);
  } else {
    Note(result.status());
  }
  activity_.fetch_add(1, std::memory_order_relaxed);
  running_.fetch_sub(1, std::memory_order_relaxed);
  return result;
}

Status WatchedDevice::Flush() {
  return Watch([&] { return inner_->Flush(); });
}

Status WatchedDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  return Watch([&] { return inner_->Read(offset_bytes, buffer); });
}

Status WatchedDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  return Watch([&] { return inner_->Write(offset_bytes, data, durability); });
}

Status WatchedDevice::DoZero(Range range, Durability durability) {
  return Watch([&] { return inner_->Zero(range, durability); });
}

Status WatchedDevice::DoTrim(Range range) {
  return Watch([&] { return inner_->Trim(range); });
}

Result<std::vector<Extent>> WatchedDevice::DoExtents(Range range, size_t max_count) {
  return Watch([&] { return inner_->Extents(range, max_count); });
}

}  // namespace rootloom
