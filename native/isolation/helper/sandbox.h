// Confine: takes from this process everything that work on an ext4 filesystem does not need.
//
// Afterwards it can read and write the descriptors that it has, take and give back memory, tell the time and end; any
// other system call ends it at once (SIGSYS). It has no other user's rights than nobody's, no capability, no core file,
// a bounded address space and bounded processor time, and does not outlive the thread that started it.
#pragma once

#include <cstdint>

#include "native/util/status.h"

namespace rootloom {

struct SandboxLimits {
  uint64_t memory_bytes = 0;  // of address space
  uint64_t cpu_seconds = 0;   // 0: no limit
  uint64_t log_bytes = 0;     // the largest size of a file that it writes to: what is on its standard error
};

// REQUIRES: this process has one thread, and owner_pid is the process that started it. Fails with kUnsupported where
// the kernel has no seccomp filters, and with EOWNERDEAD when the owner has ended meanwhile. After a failure the
// process is to be ended: it may have lost a part of its rights.
Status Confine(const SandboxLimits& limits, int owner_pid);

}  // namespace rootloom
