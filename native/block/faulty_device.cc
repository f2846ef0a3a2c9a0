#include "native/block/faulty_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "native/block/parts.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

bool Fits(const Fault& fault, const Operation& operation) {
  if (fault.kind.has_value() && *fault.kind != operation.kind) return false;
  if (operation.kind == OperationKind::kFlush) return true;
  // Written so that a range without an end cannot overflow.
  const Range& wanted = fault.range;
  return operation.range.end_bytes() > wanted.offset_bytes &&
         (operation.range.offset_bytes < wanted.offset_bytes ||
          operation.range.offset_bytes - wanted.offset_bytes < wanted.length_bytes);
}

}  // namespace

void FaultyDevice::Arm(const Fault& fault) {
  std::lock_guard lock(plan_mutex_);
  plan_.push_back({fault});
}

void FaultyDevice::Disarm() {
  std::lock_guard lock(plan_mutex_);
  plan_.clear();
}

uint64_t FaultyDevice::hit_count() const {
  std::lock_guard lock(plan_mutex_);
  return hit_count_;
}

Status FaultyDevice::Judge(const Operation& operation) {
  const char* const kind = OperationKindName(operation.kind);
  std::chrono::milliseconds delay{0};
  int error_number = 0;
  {
    std::lock_guard lock(plan_mutex_);
    for (Armed& armed : plan_) {
      if (!Fits(armed.fault, operation)) continue;
      const uint64_t earlier = armed.matched++;
      if (earlier < armed.fault.skip || earlier - armed.fault.skip >= armed.fault.count) continue;
      hit_count_ += 1;
      delay = armed.fault.delay;
      error_number = armed.fault.error_number;
      break;
    }
  }
  if (delay.count() > 0) std::this_thread::sleep_for(delay);
  if (error_number != 0) return Status::Errno(kind, name(), error_number, operation.range.offset_bytes);
  if (crashed_.load()) return Status::Errno(kind, name(), EIO, operation.range.offset_bytes);
  return Status::Ok();
}

Status FaultyDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  ROOTLOOM_RETURN_IF_ERROR(Judge({OperationKind::kRead, {offset_bytes, buffer.size()}}));
  return inner_->Read(offset_bytes, buffer);
}

Result<std::vector<Extent>> FaultyDevice::DoExtents(Range range, size_t max_count) {
  ROOTLOOM_RETURN_IF_ERROR(Judge({OperationKind::kExtents, range}));
  return inner_->Extents(range, max_count);
}

Status FaultyDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  return Change({OperationKind::kWrite, {offset_bytes, data.size()}, durability}, data,
                [&] { return inner_->Write(offset_bytes, data, durability); });
}

Status FaultyDevice::DoZero(Range range, Durability durability) {
  return Change({OperationKind::kZero, range, durability}, {}, [&] { return inner_->Zero(range, durability); });
}

Status FaultyDevice::DoTrim(Range range) {
  return Change({OperationKind::kTrim, range}, {}, [&] { return inner_->Trim(range); });
}

Status FaultyDevice::Flush() {
  ROOTLOOM_RETURN_IF_ERROR(Judge({OperationKind::kFlush}));
  if (cache_ == Cache::kNone) return inner_->Flush();
  std::lock_guard lock(change_mutex_);
  ROOTLOOM_RETURN_IF_ERROR(inner_->Flush());
  durable_.clear();
  return Status::Ok();
}

Status FaultyDevice::Change(const Operation& operation, std::span<const std::byte> data,
                            const std::function<Status()>& change) {
  ROOTLOOM_RETURN_IF_ERROR(Judge(operation));
  if (cache_ == Cache::kNone) return change();
  std::lock_guard lock(change_mutex_);
  if (crashed_.load()) {
    return Status::Errno(OperationKindName(operation.kind), name(), EIO, operation.range.offset_bytes);
  }
  const bool durable = operation.durability == Durability::kDurable;
  if (!durable) ROOTLOOM_RETURN_IF_ERROR(KeepDurable(operation.range));
  ROOTLOOM_RETURN_IF_ERROR(change());
  if (durable) UpdateDurable(operation.range, data);
  return Status::Ok();
}

Range FaultyDevice::RangeOfBlock(uint64_t block) const {
  const uint64_t offset = block * block_size();
  return {offset, std::min<uint64_t>(block_size(), size_bytes() - offset)};
}

Status FaultyDevice::KeepDurable(Range range) {
  return ForEachPart(range, block_size(), [&](Range part) {
    const uint64_t block = part.offset_bytes / block_size();
    if (durable_.contains(block)) return Status::Ok();
    std::vector<std::byte> content(RangeOfBlock(block).length_bytes);
    ROOTLOOM_RETURN_IF_ERROR(inner_->Read(RangeOfBlock(block).offset_bytes, content));
    if (IsAllZero(content)) content = {};
    durable_.emplace(block, std::move(content));
    return Status::Ok();
  });
}

void FaultyDevice::UpdateDurable(Range range, std::span<const std::byte> data) {
  for (uint64_t block = range.offset_bytes / block_size(); block * block_size() < range.end_bytes(); ++block) {
    const auto kept = durable_.find(block);
    if (kept == durable_.end()) continue;
    const Range whole = RangeOfBlock(block);
    kept->second.resize(whole.length_bytes);
    const uint64_t first = std::max(whole.offset_bytes, range.offset_bytes);
    const uint64_t length = std::min(whole.end_bytes(), range.end_bytes()) - first;
    std::byte* const target = kept->second.data() + (first - whole.offset_bytes);
    if (data.empty()) {
      std::memset(target, 0, length);
    } else {
      std::memcpy(target, data.data() + (first - range.offset_bytes), length);
    }
  }
}

Status FaultyDevice::Crash() {
  std::lock_guard lock(change_mutex_);
  crashed_.store(true);
  for (const auto& [block, content] : durable_) {
    const Range range = RangeOfBlock(block);
    ROOTLOOM_RETURN_IF_ERROR(content.empty() ? inner_->Zero(range) : inner_->Write(range.offset_bytes, content));
  }
  durable_.clear();
  return inner_->Flush();
}

}  // namespace rootloom
