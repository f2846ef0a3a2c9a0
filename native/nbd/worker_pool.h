// WorkerPool: a bounded number of threads that run operations which may take long.
//
// One pool serves all connections of an export. Threads start as they are needed and stay: an export whose device
// always answers at once never starts one. Operations do not wait for each other or for a client, so a full pool always
// moves on.
//
// Tasks wait in lanes, and the lanes take turns: whoever submits a thousand tasks does not keep another's one waiting
// behind them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "native/nbd/fifo.h"
#include "native/util/status.h"

namespace rootloom::nbd {

// Something to run. It belongs to whoever submitted it, and must stay where it is until Run has returned.
struct Task {
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;
  virtual void Run() = 0;
  Task* next_task = nullptr;
};
using TaskFifo = Fifo<Task, &Task::next_task>;

// Tasks that are run in the order of their submission. It belongs to whoever submits, and must stay where it is until
// all its tasks have run.
struct Lane {
  TaskFifo tasks;  // protected by the pool
  Lane* next = nullptr;
};

// Starts a thread, or says why there is none to be had.
Result<std::thread> StartThread(std::function<void()> body);

class WorkerPool {
 public:
  explicit WorkerPool(uint32_t max_threads) : max_threads_(max_threads) {}
  // REQUIRES: everything submitted has run.
  ~WorkerPool();

  // Runs every task on some thread of the pool. When the system gives no thread at all, they run here.
  void Submit(Lane& lane, TaskFifo& tasks);

 private:
  void Work();

  const uint32_t max_threads_;
  std::mutex mutex_;
  // ---- protected by mutex_ ----
  std::condition_variable wake_;
  Fifo<Lane, &Lane::next> lanes_;  // those in which tasks wait
  size_t waiting_ = 0;             // in all lanes
  uint32_t idle_threads_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rootloom::nbd
