#include "native/block/device.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>

namespace rootloom {

namespace {

// Devices serve threads that nothing may be thrown on, and C code that nothing may be thrown through.
template <typename Function>
auto WithoutThrowing(const char* operation, const Device& device, uint64_t offset_bytes, const Function& function)
    -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return Status::Errno(operation, device.name(), ENOMEM, offset_bytes);
  }
}

uint64_t BytesOf(DataRow row) {
  uint64_t bytes = 0;
  for (const auto& piece : row) bytes += piece.size();
  return bytes;
}

}  // namespace

Status CheckBlockSize(const char* operation, uint32_t block_size) {
  if (std::has_single_bit(block_size) && block_size >= kMinBlockSize && block_size <= kMaxBlockSize) {
    return Status::Ok();
  }
  return Status::Invalid(operation, "the block size is " + std::to_string(block_size) +
                                        ", it must be a power of two from " + std::to_string(kMinBlockSize) + " to " +
                                        std::to_string(kMaxBlockSize));
}

Status Device::CheckRange(const char* operation, Range range) const {
  const uint64_t size = size_bytes();
  if (range.offset_bytes <= size && range.length_bytes <= size - range.offset_bytes) return Status::Ok();
  return Failure{.kind = StatusKind::kInvalidArgument,
                 .operation = operation,
                 .detail = "the range of " + std::to_string(range.length_bytes) + " bytes ends beyond the device's " +
                           std::to_string(size) + " bytes",
                 .path = name(),
                 .offset_bytes = range.offset_bytes,
                 .error_number = EINVAL};
}

Status Device::CheckWritable(const char* operation, Range range) const {
  if (writable()) return CheckRange(operation, range);
  return Failure{.kind = StatusKind::kIo,
                 .operation = operation,
                 .detail = "the device is read-only",
                 .path = name(),
                 .offset_bytes = range.offset_bytes,
                 .error_number = EROFS};
}

Status Device::Read(uint64_t offset_bytes, std::span<std::byte> buffer) {
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("read", {offset_bytes, buffer.size()}));
  if (buffer.empty()) return Status::Ok();
  return WithoutThrowing("read", *this, offset_bytes, [&] { return DoRead(offset_bytes, buffer); });
}

std::span<const std::byte> Device::Borrow(Range range, Lenders& lenders) {
  if (range.length_bytes == 0 || !CheckRange("borrow", range).ok()) return {};
  try {
    return DoBorrow(range, lenders);
  } catch (const std::bad_alloc&) {
    return {};  // Reading needs no memory for it.
  }
}

Status Device::Write(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  ROOTLOOM_RETURN_IF_ERROR(CheckWritable("write", {offset_bytes, data.size()}));
  if (data.empty()) return Status::Ok();
  return WithoutThrowing("write", *this, offset_bytes, [&] { return DoWrite(offset_bytes, data, durability); });
}

void Device::WriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes) {
  const uint64_t length_bytes = BytesOf(row);
  const bool allowed = length_bytes > 0 && CheckWritable("write", {offset_bytes, length_bytes}).ok();
  try {
    if (allowed) return DoWriteRow(offset_bytes, row, durability, outcomes);
  } catch (const std::bad_alloc&) {
    // As for a row of which a part is refused: what each piece fails with shows when it is written by itself.
  }
  Device::DoWriteRow(offset_bytes, row, durability, outcomes);
}

void Device::DoWriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes) {
  for (size_t index = 0; index < row.size(); ++index) {
    outcomes[index] = Write(offset_bytes, row[index], durability);
    offset_bytes += row[index].size();
  }
}

Status Device::Zero(Range range, Durability durability) {
  ROOTLOOM_RETURN_IF_ERROR(CheckWritable("zero", range));
  if (range.length_bytes == 0) return Status::Ok();
  return WithoutThrowing("zero", *this, range.offset_bytes, [&] { return DoZero(range, durability); });
}

Status Device::Trim(Range range) {
  ROOTLOOM_RETURN_IF_ERROR(CheckWritable("trim", range));
  if (range.length_bytes == 0) return Status::Ok();
  return WithoutThrowing("trim", *this, range.offset_bytes, [&] { return DoTrim(range); });
}

Result<std::vector<Extent>> Device::Extents(Range range, size_t max_count) {
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("map extents of", range));
  if (range.length_bytes == 0 || max_count == 0) return std::vector<Extent>();
  return WithoutThrowing("map extents of", *this, range.offset_bytes, [&] { return DoExtents(range, max_count); });
}

void Device::Prefetch(std::span<const Range> ranges) {
  const uint64_t size = size_bytes();
  try {
    std::vector<Range> inside;
    for (const Range& range : ranges) {
      if (range.length_bytes == 0 || range.offset_bytes >= size) continue;
      inside.push_back({range.offset_bytes, std::min(range.length_bytes, size - range.offset_bytes)});
    }
    if (!inside.empty()) DoPrefetch(inside);
  } catch (const std::bad_alloc&) {
    return;  // A hint that there is no memory for is no loss.
  }
}

Result<std::vector<Origin>> Device::Origins(Range range, size_t max_count) {
  ROOTLOOM_RETURN_IF_ERROR(CheckRange("map origins of", range));
  if (range.length_bytes == 0 || max_count == 0) return std::vector<Origin>();
  return WithoutThrowing("map origins of", *this, range.offset_bytes, [&] { return DoOrigins(range, max_count); });
}

}  // namespace rootloom
