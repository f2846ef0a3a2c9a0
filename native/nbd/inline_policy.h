// InlinePolicy: whether an operation runs at once on the thread that received it, or on a worker.
//
// A device that answers out of memory takes a microsecond, and handing such an operation to another thread costs
// several times that; long ones, too, are cheaper where the answer is sent from, with the data still in that
// processor's cache. A device that fetches from a disk or a store must not hold up the requests behind.
//
// The device is not asked which it will be, because it does not know: whether a file's page is cached, or another
// thread has just unpacked the same frame, shows only in the trying. But what it did shows: after two slow operations
// in short succession a number of them goes to the workers, and then it is tried again, for twice that number if it is
// slow at once, and so on. So a device with slow answers blocks its connection for two of them, and later for one in
// thousands. How long operations take on the workers says nothing about the next: there they also wait for each other,
// as writers of one file do.
//
// On a busy machine most slow operations are just threads that were not given the processor; those are told apart by
// the system's count of such moments, which is asked for only then.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "native/nbd/request.h"

namespace rootloom::nbd {

// The part of the policy that counts. One thread.
class Probation {
 public:
  static constexpr uint32_t kShortSuccession = 64;  // fewer quick operations than this between two slow ones
  static constexpr uint32_t kLongRow = 512;         // quick operations, after which the past is forgotten
  static constexpr uint32_t kFirstLength = 256;
  static constexpr uint32_t kMaxLength = 1 << 14;

  // Whether the next operation may run inline. Each that may not counts.
  bool Passes() {
    if (left_ == 0) return true;
    --left_;
    return false;
  }
  // One that ran inline was quick.
  void NoteQuick() {
    quick_row_ = std::min(quick_row_ + 1, kLongRow);
    if (quick_row_ == kLongRow) length_ = kFirstLength;
  }
  // Or slow.
  void NoteSlow() {
    if (quick_row_ < kShortSuccession) {
      left_ = length_;
      length_ = std::min(2 * length_, kMaxLength);
    }
    quick_row_ = 0;
  }

 private:
  uint32_t left_ = 0;                      // operations that are yet to go to the workers
  uint32_t length_ = kFirstLength;         // how many go there next time
  uint32_t quick_row_ = kShortSuccession;  // quick operations since the last slow one, to the limit
};

// For the connection's own thread.
class InlinePolicy {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether the request may be a quick one at all. Flushing, durable writing and filling with zeros are slow in
  // themselves, and a very long range keeps the others waiting however fast it is.
  static bool IsShort(const Request& request) {
    if (request.Has(kCommandFlagFua | kCommandFlagNoHole) || request.length_bytes > kMaxInlineBytes) return false;
    return request.command != Command::kFlush && request.command != Command::kCache;
  }

  // Decides about one request.
  bool AllowsInline(const Request& request) { return IsShort(request) && probation_.Passes(); }

  // Takes note of how long operations on this many bytes took inline.
  void Record(uint64_t length_bytes, Clock::duration duration) {
    if (duration < kSlow + length_bytes / 1024 * kSlowPerKiB) {
      probation_.NoteQuick();
    } else if (!LostProcessor()) {
      probation_.NoteSlow();
    }
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

  Probation probation_;
};

}  // namespace rootloom::nbd
