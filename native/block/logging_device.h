// LoggingDevice: counts what is asked of the device below, to prove what an algorithm reads and writes.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "native/block/operation.h"

namespace rootloom {

struct OperationCount {
  uint64_t calls = 0;
  uint64_t failures = 0;         // of these calls
  uint64_t bytes = 0;            // asked for, also by calls that failed
  uint64_t distinct_blocks = 0;  // touched at least once; every one of them is below the device's size
};

struct LoggedOperation {
  Operation operation;
  int error_number = 0;  // of a call that failed; EIO when its failure had none
  bool failed = false;
};

struct TakenLog {
  std::vector<LoggedOperation> operations;
  uint64_t missed = 0;  // that the log had no room for, since it was taken before; they are older than the others
};

// Passes everything on unchanged. Zero and Trim stay what they are: they are not counted as writes.
class LoggingDevice final : public Device {
 public:
  // Shares ownership of inner. Keeps the last log_capacity operations.
  explicit LoggingDevice(std::shared_ptr<Device> inner, size_t log_capacity = 0)
      : inner_(std::move(inner)), log_capacity_(log_capacity) {}

  std::string name() const override { return inner_->name(); }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  uint32_t block_size() const override { return inner_->block_size(); }
  bool writable() const override { return inner_->writable(); }
  Status Flush() override;

  OperationCount CountOf(OperationKind kind) const;
  // Oldest first, in the order in which they ended.
  std::vector<LoggedOperation> Log() const;
  // The same, and the log is empty afterwards; counts stay.
  TakenLog TakeLog();
  // Forgets counts and log.
  void Reset();

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  // One call, however many ranges; each range is an operation of the log.
  void DoPrefetch(std::span<const Range> ranges) override;

 private:
  struct Counter {
    OperationCount count;
    std::vector<bool> touched;  // one a block, up to the highest one touched
  };

  Status Note(const Operation& operation, Status status);
  // REQUIRES: mutex_ is held
  void CountRange(const Operation& operation);
  void KeepInLog(const Operation& operation, const Status& status);

  const std::shared_ptr<Device> inner_;
  const size_t log_capacity_;
  mutable std::mutex mutex_;
  std::array<Counter, kOperationKindCount> counters_;  // protected by mutex_
  std::deque<LoggedOperation> log_;                    // protected by mutex_
  uint64_t missed_ = 0;                                // protected by mutex_
};

}  // namespace rootloom
