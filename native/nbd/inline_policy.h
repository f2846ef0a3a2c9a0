// InlinePolicy: whether an operation runs at once on the thread that received it, or on a worker.
//
// A device that answers out of memory takes a microsecond, and handing such an operation to another thread costs
// several times that. A device that fetches from a disk or a store must not hold up the requests behind. What a device
// is going to do cannot be asked, but it shows: after one slow operation the next ones go to the workers, until a row
// of them was quick again. So a device with a slow answer now and then blocks its connection for one of them at most.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "native/nbd/request.h"

namespace rootloom::nbd {

class InlinePolicy {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether the request may be a quick one at all. Flushing, durable writing and filling with zeros are slow in
  // themselves, and long ranges gain from several threads.
  static bool IsShort(const Request& request) {
    if (request.Has(kCommandFlagFua | kCommandFlagNoHole) || request.length_bytes > kMaxInlineBytes) return false;
    return request.command != Command::kFlush && request.command != Command::kCache;
  }

  bool AllowsInline(const Request& request) const {
    return IsShort(request) && probation_.load(std::memory_order_relaxed) == 0;
  }

  // Takes note of how long a short request took. Any thread.
  void Record(Clock::duration duration) {
    const uint32_t left = probation_.load(std::memory_order_relaxed);
    if (duration >= kSlow) {
      probation_.store(kProbation, std::memory_order_relaxed);
    } else if (left > 0) {
      // Threads that do this at once may count one step instead of two, which does no harm.
      probation_.store(left - 1, std::memory_order_relaxed);
    }
  }

 private:
  static constexpr uint32_t kMaxInlineBytes = 64 << 10;
  static constexpr Clock::duration kSlow = std::chrono::microseconds(50);
  static constexpr uint32_t kProbation = 256;  // quick operations in a row, before the next may run inline

  std::atomic<uint32_t> probation_{0};
};

}  // namespace rootloom::nbd
