// KeptHelper: a helper that outlives the call that started it.
//
// A helper ends with the thread that started it, so one is kept for it: it starts the helper, sees to it that no
// request takes more than its share of the processor, and ends it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "native/isolation/helper_process.h"

namespace rootloom {

struct HelperObituary {
  std::string how;  // it ended
  std::string log;  // what it wrote to its standard error
};

// Thread-safe.
class KeptHelper {
 public:
  // cpu_seconds of limits is what it may use until AllowCpu is called.
  static Result<std::unique_ptr<KeptHelper>> Start(const std::string& path, const HelperLimits& limits,
                                                   UniqueFd control, UniqueFd disk);
  // Ends it.
  ~KeptHelper();

  // From now on it may use so much, and is ended when it does.
  void AllowCpu(std::chrono::nanoseconds more);

  // What it has used of the processor; 0 once it has ended.
  std::chrono::nanoseconds CpuTime();

  // Kills it, if it still runs. Returns at once, and the same each time.
  HelperObituary End();

 private:
  KeptHelper() = default;
  void Keep(Result<HelperProcess> process);
  // Returns when the helper is to be ended.
  void Watch(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable changed_;
  // ---- protected by mutex_ ----
  std::optional<HelperProcess> process_;  // while it runs
  std::optional<Status> started_;
  std::chrono::nanoseconds cpu_limit_{};  // of its clock
  bool overran_ = false;
  bool end_wanted_ = false;
  std::optional<HelperObituary> obituary_;
  // ----
  std::thread thread_;
};

}  // namespace rootloom
