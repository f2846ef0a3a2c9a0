#include "native/keeper/tsc.h"

#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace rootloom {

#if defined(__x86_64__)

namespace {

constexpr int kReadingAttempts = 64;
constexpr uint64_t kMeasuredNanoseconds = 50'000'000;

struct Reading {
  uint64_t ticks;
  uint64_t nanoseconds;
};

uint64_t NowNanoseconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// The two clocks at one moment: of several attempts the one during which the least time passed, so that a reading
// that was interrupted half-way does not count.
Reading ReadBoth() {
  Reading best{};
  uint64_t best_ticks_apart = UINT64_MAX;
  for (int attempt = 0; attempt < kReadingAttempts; ++attempt) {
    const uint64_t before = __rdtsc();
    const uint64_t nanoseconds = NowNanoseconds();
    const uint64_t ticks_apart = __rdtsc() - before;
    if (ticks_apart < best_ticks_apart) {
      best_ticks_apart = ticks_apart;
      best = {before + ticks_apart / 2, nanoseconds};
    }
  }
  return best;
}

}  // namespace

Result<uint64_t> MeasureTscKhz() {
  const Reading first = ReadBoth();
  timespec pause = {0, static_cast<long>(kMeasuredNanoseconds)};
  ::nanosleep(&pause, nullptr);  // Cut short or late, the readings still belong together.
  const Reading last = ReadBoth();
  const double khz =
      static_cast<double>(last.ticks - first.ticks) * 1e6 / static_cast<double>(last.nanoseconds - first.nanoseconds);
  return static_cast<uint64_t>(khz + 0.5);
}

#else

Result<uint64_t> MeasureTscKhz() {
  return Status::Unsupported("measure the time stamp counter", "only x86-64 processors have one");
}

#endif

}  // namespace rootloom
