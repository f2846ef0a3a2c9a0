// What a connection or a server has done so far, in numbers.
#pragma once

#include <atomic>
#include <cstdint>

#include "native/nbd/request.h"

namespace rootloom::nbd {

struct Counts {
  uint64_t read_count = 0;
  uint64_t read_bytes = 0;
  uint64_t write_count = 0;
  uint64_t write_bytes = 0;
  uint64_t zero_count = 0;
  uint64_t trim_count = 0;
  uint64_t flush_count = 0;
  uint64_t error_count = 0;  // requests answered with an error; the others count only what succeeded
};

// Counts of one connection, by any of its threads.
class Counters {
 public:
  void Record(const Request& request) {
    if (request.failed) return Add(error_count_, 1);
    switch (request.command) {
      case Command::kRead:
        Add(read_count_, 1);
        return Add(read_bytes_, request.length_bytes);
      case Command::kWrite:
        Add(write_count_, 1);
        return Add(write_bytes_, request.length_bytes);
      case Command::kWriteZeroes:
        return Add(zero_count_, 1);
      case Command::kTrim:
        return Add(trim_count_, 1);
      case Command::kFlush:
        return Add(flush_count_, 1);
      default:
        return;
    }
  }

  // Of a READ that was recorded as a success.
  void RecordLateFailure(const Request& request) {
    read_count_.fetch_sub(1, std::memory_order_relaxed);
    read_bytes_.fetch_sub(request.length_bytes, std::memory_order_relaxed);
    Add(error_count_, 1);
  }

  void AddTo(Counts& counts) const {
    counts.read_count += Get(read_count_);
    counts.read_bytes += Get(read_bytes_);
    counts.write_count += Get(write_count_);
    counts.write_bytes += Get(write_bytes_);
    counts.zero_count += Get(zero_count_);
    counts.trim_count += Get(trim_count_);
    counts.flush_count += Get(flush_count_);
    counts.error_count += Get(error_count_);
  }

 private:
  using Counter = std::atomic<uint64_t>;
  static void Add(Counter& counter, uint64_t value) { counter.fetch_add(value, std::memory_order_relaxed); }
  static uint64_t Get(const Counter& counter) { return counter.load(std::memory_order_relaxed); }

  Counter read_count_{0};
  Counter read_bytes_{0};
  Counter write_count_{0};
  Counter write_bytes_{0};
  Counter zero_count_{0};
  Counter trim_count_{0};
  Counter flush_count_{0};
  Counter error_count_{0};
};

}  // namespace rootloom::nbd
