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

void WorkerPool::Submit(TaskFifo& tasks) {
  if (tasks.empty()) return;
  size_t to_wake;
  {
    std::lock_guard lock(mutex_);
    queue_.Append(tasks);
    while (idle_threads_ < queue_.size() && threads_.size() < max_threads_) {
      Result<std::thread> thread = StartThread([this] { Work(); });
      if (!thread.ok()) break;
      threads_.push_back(std::move(thread).value());
      ++idle_threads_;
    }
    if (threads_.empty()) tasks.Append(queue_);
    to_wake = std::min<size_t>(idle_threads_, queue_.size());
  }
  while (!tasks.empty()) tasks.Pop()->Run();
  for (; to_wake > 0; --to_wake) wake_.notify_one();
}

// A thread counts as idle from its start, so that Submit does not start two for one task.
void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    --idle_threads_;
    Task* task = queue_.Pop();
    lock.unlock();
    task->Run();
    lock.lock();
    ++idle_threads_;
  }
}

}  // namespace rootloom::nbd
