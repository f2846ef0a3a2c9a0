#include "native/isolation/tree/kept_helper.h"

#include "native/nbd/worker_pool.h"

namespace rootloom {

Result<std::unique_ptr<KeptHelper>> KeptHelper::Start(const std::string& path, const HelperLimits& limits,
                                                      UniqueFd control, UniqueFd disk) {
  std::unique_ptr<KeptHelper> kept(new KeptHelper());
  kept->cpu_limit_ = std::chrono::seconds(limits.cpu_seconds);
  // What is referred to is used until the helper has started, which is waited for.
  ROOTLOOM_ASSIGN_OR_RETURN(kept->thread_, nbd::StartThread([&, keeper = kept.get()] {
                              keeper->Keep(HelperProcess::Start(
                                  path, {.memory_bytes = limits.memory_bytes, .cpu_seconds = 0}, control, disk));
                            }));
  std::unique_lock lock(kept->mutex_);
  kept->changed_.wait(lock, [&kept] { return kept->started_.has_value(); });
  const Status started = *kept->started_;
  lock.unlock();
  if (!started.ok()) return started;
  return kept;
}

KeptHelper::~KeptHelper() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    end_wanted_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void KeptHelper::Keep(Result<HelperProcess> process) {
  std::unique_lock lock(mutex_);
  if (process.ok()) process_.emplace(std::move(process).value());
  started_ = process.status();
  changed_.notify_all();
  if (!process_) return;
  Watch(lock);
  const HelperEnd end = process_->End();
  obituary_ = {.how = overran_ ? "its helper used up its processor time, and was ended" : TextOf(end),
               .log = process_->Log()};
  process_.reset();
  changed_.notify_all();
}

void KeptHelper::Watch(std::unique_lock<std::mutex>& lock) {
  while (!end_wanted_) {
    const std::chrono::nanoseconds left = cpu_limit_ - process_->CpuTime();
    overran_ = left <= std::chrono::nanoseconds(0);
    if (overran_) return;
    // It has one thread: in so much time it cannot use more.
    changed_.wait_for(lock, left);
  }
}

void KeptHelper::AllowCpu(std::chrono::nanoseconds more) {
  {
    std::lock_guard lock(mutex_);
    if (!process_) return;
    cpu_limit_ = process_->CpuTime() + more;
  }
  changed_.notify_all();
}

std::chrono::nanoseconds KeptHelper::CpuTime() {
  std::lock_guard lock(mutex_);
  return process_ ? process_->CpuTime() : std::chrono::nanoseconds(0);
}

HelperObituary KeptHelper::End() {
  std::unique_lock lock(mutex_);
  end_wanted_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return obituary_.has_value(); });
  return *obituary_;
}

}  // namespace rootloom
