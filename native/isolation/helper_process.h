// HelperProcess: one run of the helper executable, from its start to its being reaped.
//
// Started by posix_spawn, which is safe in a process with many threads, with an empty environment and no descriptor but
// its own. Waited for by its own id alone: Node's handler of SIGCHLD asks for the processes that Node started, and
// never sees this one's end.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>

#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom {

struct HelperLimits {
  uint64_t memory_bytes = 0;
  uint64_t cpu_seconds = 0;  // 0: the kernel sets none
};

// How it ended, as far as the kernel told: who waits for every child of this process may have been told instead.
struct HelperEnd {
  std::optional<int> exit_code;
  std::optional<int> signal;
};

// What is to be said of a helper that ended before it was told to.
std::string TextOf(const HelperEnd& end);

class HelperProcess {
 public:
  // Starts it with its ends of the two sockets. The helper ends with the calling thread, which is to be the one that
  // destroys this. Fails as open(2) and fork(2) do.
  static Result<HelperProcess> Start(const std::string& path, const HelperLimits& limits, const UniqueFd& control,
                                     const UniqueFd& disk);
  HelperProcess(HelperProcess&& other) noexcept;
  HelperProcess& operator=(HelperProcess&&) = delete;
  // Kills it, unless it was reaped.
  ~HelperProcess();

  // Kills it if it still runs, and reaps it. Returns at once, for nothing holds up SIGKILL. To be called once.
  HelperEnd End();

  // What it has used of the processor. REQUIRES: End was not called
  std::chrono::nanoseconds CpuTime() const;

  // The beginning of what it wrote to its standard error, as one line of printable characters.
  std::string Log() const;

 private:
  HelperProcess(pid_t pid, UniqueFd pidfd, UniqueFd log) : pid_(pid), pidfd_(std::move(pidfd)), log_(std::move(log)) {}

  pid_t pid_;  // -1: reaped or given away
  UniqueFd pidfd_;
  UniqueFd log_;
};

}  // namespace rootloom
