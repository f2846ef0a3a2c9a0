#include "native/nbd/worker_pool.h"

#include <system_error>
#include <utility>

namespace rootloom::nbd {

Result<std::thread> StartThread(std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    return Status::Errno("start a thread", "", error.code().value());
  }
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Submit(Lane& lane, TaskFifo& tasks) {
  if (tasks.empty()) return;
  size_t to_wake;
  {
    std::lock_guard lock(mutex_);
    if (lane.tasks.empty()) lanes_.Push(&lane);
    waiting_ += tasks.size();
    lane.tasks.Append(tasks);
    while (idle_threads_ < waiting_ && threads_.size() < max_threads_) {
      Result<std::thread> thread = StartThread([this] { Work(); });
      if (!thread.ok()) break;
      threads_.push_back(std::move(thread).value());
      ++idle_threads_;
    }
    if (threads_.empty()) {
      // Then no lane but this one was ever left with tasks.
      tasks.Append(lanes_.Pop()->tasks);
      waiting_ = 0;
    }
    to_wake = std::min<size_t>(idle_threads_, waiting_);
  }
  while (!tasks.empty()) tasks.Pop()->Run();
  for (; to_wake > 0; --to_wake) wake_.notify_one();
}

// A thread counts as idle from its start, so that Submit does not start two for one task.
void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || waiting_ > 0; });
    if (waiting_ == 0) return;
    --idle_threads_;
    Lane* lane = lanes_.Pop();
    Task* task = lane->tasks.Pop();
    --waiting_;
    if (!lane->tasks.empty()) lanes_.Push(lane);
    lock.unlock();
    task->Run();
    lock.lock();
    ++idle_threads_;
  }
}

}  // namespace rootloom::nbd
