// InlinePolicy: whether an operation runs at once on the thread that received it, or on a worker.
//
// A device that answers out of memory takes a microsecond, and handing such an operation to another thread costs
// several times that; long ones, too, are cheaper where the answer is sent from, with the data still in that
// processor's cache. A device that fetches from a disk or a store must not hold up the requests behind.
//
// The device is not asked which it will be, because it does not know: whether a file's page is cached, or another
// thread has just unpacked the same frame, shows only in the trying. But what it did shows: after two slow operations
// in short succession the next ones go to the workers, until a row of them was quick again. So a device with slow
// answers blocks its connection for two of them. On a busy machine most slow operations are just threads that were not
// given the processor; those are told apart by the system's count of such moments, which is asked for only then.
#pragma once

#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <utility>

#include "native/nbd/request.h"

namespace rootloom::nbd {

class InlinePolicy {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether the request may be a quick one at all. Flushing, durable writing and filling with zeros are slow in
  // themselves, and a very long range keeps the others waiting however fast it is.
  static bool IsShort(const Request& request) {
    if (request.Has(kCommandFlagFua | kCommandFlagNoHole) || request.length_bytes > kMaxInlineBytes) return false;
    return request.command != Command::kFlush && request.command != Command::kCache;
  }

  bool AllowsInline(const Request& request) const {
    return IsShort(request) && probation_.load(std::memory_order_relaxed) == 0;
  }

  // Takes note of how long a short request took. Any thread. Threads that do this at once may count one step instead of
  // two, which does no harm.
  void Record(const Request& request, Clock::duration duration) {
    const uint32_t left = probation_.load(std::memory_order_relaxed);
    const uint32_t row = quick_row_.load(std::memory_order_relaxed);
    if (duration < kSlow + request.length_bytes / 1024 * kSlowPerKiB) {
      if (left > 0) probation_.store(left - 1, std::memory_order_relaxed);
      if (row < kShortSuccession) quick_row_.store(row + 1, std::memory_order_relaxed);
      return;
    }
    if (LostProcessor()) return;
    if (left > 0 || row < kShortSuccession) probation_.store(kProbation, std::memory_order_relaxed);
    quick_row_.store(0, std::memory_order_relaxed);
  }

 private:
  // Whether the calling thread had to let another one run since it last asked. Its own waiting does not count.
  static bool LostProcessor() {
    static thread_local long last_count = 0;
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return std::exchange(last_count, usage.ru_nivcsw) != usage.ru_nivcsw;
  }

  static constexpr uint32_t kMaxInlineBytes = 4 << 20;
  static constexpr Clock::duration kSlow = std::chrono::microseconds(50);
  static constexpr Clock::duration kSlowPerKiB = std::chrono::microseconds(1);  // ten times what copying takes
  static constexpr uint32_t kShortSuccession = 64;  // fewer quick operations than this between two slow ones
  static constexpr uint32_t kProbation = 256;       // quick operations in a row, before the next may run inline

  std::atomic<uint32_t> probation_{0};                 // how many of those are missing; 0: run inline
  std::atomic<uint32_t> quick_row_{kShortSuccession};  // quick operations since the last slow one, to that limit
};

}  // namespace rootloom::nbd
