#include "native/block/logging_device.h"

#include <cerrno>
#include <utility>

namespace rootloom {

void LoggingDevice::CountRange(const Operation& operation) {
  Counter& counter = counters_[static_cast<size_t>(operation.kind)];
  counter.count.bytes += operation.range.length_bytes;
  if (operation.range.length_bytes == 0) return;
  const uint64_t first = operation.range.offset_bytes / block_size();
  const uint64_t last = (operation.range.end_bytes() - 1) / block_size();
  if (counter.touched.size() <= last) counter.touched.resize(last + 1);
  for (uint64_t block = first; block <= last; ++block) {
    counter.count.distinct_blocks += counter.touched[block] ? 0 : 1;
    counter.touched[block] = true;
  }
}

void LoggingDevice::KeepInLog(const Operation& operation, const Status& status) {
  if (log_capacity_ == 0) return;
  if (log_.size() == log_capacity_) {
    log_.pop_front();
    missed_ += 1;
  }
  LoggedOperation logged{.operation = operation, .failed = !status.ok()};
  if (logged.failed) {
    logged.error_number = status.failure().error_number != 0 ? status.failure().error_number : EIO;
  }
  log_.push_back(logged);
}

Status LoggingDevice::Note(const Operation& operation, Status status) {
  std::lock_guard lock(mutex_);
  OperationCount& count = counters_[static_cast<size_t>(operation.kind)].count;
  count.calls += 1;
  if (!status.ok()) count.failures += 1;
  CountRange(operation);
  KeepInLog(operation, status);
  return status;
}

OperationCount LoggingDevice::CountOf(OperationKind kind) const {
  std::lock_guard lock(mutex_);
  return counters_[static_cast<size_t>(kind)].count;
}

std::vector<LoggedOperation> LoggingDevice::Log() const {
  std::lock_guard lock(mutex_);
  return {log_.begin(), log_.end()};
}

TakenLog LoggingDevice::TakeLog() {
  std::lock_guard lock(mutex_);
  TakenLog taken{.operations = {log_.begin(), log_.end()}, .missed = std::exchange(missed_, 0)};
  log_.clear();
  return taken;
}

void LoggingDevice::Reset() {
  std::lock_guard lock(mutex_);
  counters_ = {};
  log_.clear();
  missed_ = 0;
}

Status LoggingDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  return Note({OperationKind::kRead, {offset_bytes, buffer.size()}}, inner_->Read(offset_bytes, buffer));
}

Status LoggingDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  return Note({OperationKind::kWrite, {offset_bytes, data.size()}, durability},
              inner_->Write(offset_bytes, data, durability));
}

Status LoggingDevice::DoZero(Range range, Durability durability) {
  return Note({OperationKind::kZero, range, durability}, inner_->Zero(range, durability));
}

Status LoggingDevice::DoTrim(Range range) { return Note({OperationKind::kTrim, range}, inner_->Trim(range)); }

Status LoggingDevice::Flush() { return Note({OperationKind::kFlush}, inner_->Flush()); }

Result<std::vector<Extent>> LoggingDevice::DoExtents(Range range, size_t max_count) {
  Result<std::vector<Extent>> extents = inner_->Extents(range, max_count);
  ROOTLOOM_RETURN_IF_ERROR(Note({OperationKind::kExtents, range}, extents.status()));
  return extents;
}

void LoggingDevice::DoPrefetch(std::span<const Range> ranges) {
  {
    std::lock_guard lock(mutex_);
    counters_[static_cast<size_t>(OperationKind::kPrefetch)].count.calls += 1;
    for (const Range& range : ranges) {
      const Operation operation{OperationKind::kPrefetch, range};
      CountRange(operation);
      KeepInLog(operation, Status::Ok());
    }
  }
  inner_->Prefetch(ranges);
}

}  // namespace rootloom
