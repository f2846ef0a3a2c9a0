// The engines of e2fsprogs for C++: one at a time where they must be, cancellable, silent.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "native/ext4/engine/run.h"
#include "native/ext4/io_manager.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// The right to run e2fsck, whose variables are process-wide: one holder at a time in the whole process. resize2fs and
// libext2fs keep no such state and need no lock.
class E2fsckLock {
 public:
  // Waits for the lock; fails with kCancelled when the context's stop token is triggered first.
  static Result<E2fsckLock> Acquire(const CallContext& context);
  E2fsckLock(E2fsckLock&& other) noexcept : held_(std::exchange(other.held_, false)) {}
  E2fsckLock& operator=(E2fsckLock&&) = delete;
  ~E2fsckLock();

 private:
  E2fsckLock() = default;
  bool held_ = true;
};

struct E2fsckProblem {
  uint32_t code = 0;    // e2fsck's own number: 0x010005 and so on
  std::string message;  // one line, without question and answer
  bool fixed = false;
};

struct E2fsckRun {
  int exit_bits = 0;
  std::vector<E2fsckProblem> problems;
  uint64_t problem_count = 0;  // problems holds at most kMaxProblems of them
  std::string output;          // what the program would have printed, cut at kMaxOutputBytes
};
inline constexpr size_t kMaxProblems = 10'000;
inline constexpr size_t kMaxOutputBytes = 4 << 20;

enum class E2fsckMode : uint8_t {
  kCheck,   // -fn: all passes, nothing is written
  kRepair,  // -fy: all passes, yes to everything
  // -p -E journal_only: the journal, orphaned inodes and the superblock, by corrections that lose nothing. Where e2fsck
  // would throw a broken journal away, it gives up with exit bit 4.
  kJournalOnly,
};

// Runs e2fsck on io under the lock. Fails with the device's failure or kCancelled; everything that e2fsck itself finds
// is data.
// time, in seconds since 1970, is what e2fsck takes for the present.
Result<E2fsckRun> RunE2fsck(DeviceIo& io, E2fsckMode mode, int64_t time, const CallContext& context);

// resize_fs on a filesystem opened on io. On success filesystem is freed and *size_blocks the size that was chosen;
// otherwise it is still the caller's.
errcode_t RunResize(DeviceIo& io, ext2_filsys filesystem, blk64_t* size_blocks, const CallContext& context);

// Sets the space that is noted in the quota files of a filesystem opened on io for writing: see run.h.
errcode_t RunQuotaUpdate(DeviceIo& io, ext2_filsys filesystem, const rootloom_quota_usage& usage,
                         const CallContext& context);

// The version of e2fsprogs that is linked in: "1.47.4".
std::string E2fsprogsVersion();

// The time for a caller that did not give one.
int64_t Now();

}  // namespace rootloom
