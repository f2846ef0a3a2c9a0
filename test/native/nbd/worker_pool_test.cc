#include "native/nbd/worker_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace rootloom::nbd {
namespace {

// Takes down who ran when; tasks wait until it is open.
struct Record {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  bool started = false;
  std::string order;
};

struct NamedTask final : Task {
  NamedTask(Record& record, char name) : record(record), name(name) {}
  void Run() override {
    std::unique_lock lock(record.mutex);
    record.started = true;
    record.changed.notify_all();
    record.changed.wait(lock, [this] { return record.open; });
    record.order += name;
    record.changed.notify_all();
  }
  Record& record;
  const char name;
};

TEST(WorkerPoolTest, LetsLanesTakeTurns) {
  Record record;
  std::vector<std::unique_ptr<NamedTask>> tasks;
  Lane lanes[4];
  WorkerPool pool(1);
  const auto submit = [&](Lane& lane, char name, int count) {
    TaskFifo fifo;
    for (int i = 0; i < count; ++i) fifo.Push(tasks.emplace_back(std::make_unique<NamedTask>(record, name)).get());
    pool.Submit(lane, fifo);
    EXPECT_TRUE(fifo.empty());
  };
  // Keeps the only thread busy until the others wait.
  submit(lanes[3], '-', 1);
  std::unique_lock lock(record.mutex);
  record.changed.wait(lock, [&] { return record.started; });
  lock.unlock();
  submit(lanes[0], 'a', 5);
  submit(lanes[1], 'b', 2);
  submit(lanes[2], 'c', 3);
  lock.lock();
  record.open = true;
  record.changed.notify_all();
  record.changed.wait(lock, [&] { return record.order.size() == tasks.size(); });
  EXPECT_EQ(record.order, "-abcabcacaa");
  lock.unlock();
}

TEST(WorkerPoolTest, RunsEverythingThatIsSubmittedFromManyThreads) {
  constexpr int kThreads = 8;
  constexpr int kTasks = 500;
  Record record;
  record.open = true;
  std::vector<std::vector<std::unique_ptr<NamedTask>>> tasks(kThreads);
  std::vector<Lane> lanes(kThreads);
  WorkerPool pool(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        TaskFifo fifo;
        fifo.Push(tasks[t].emplace_back(std::make_unique<NamedTask>(record, static_cast<char>('a' + t))).get());
        pool.Submit(lanes[t], fifo);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::unique_lock lock(record.mutex);
  record.changed.wait(lock, [&] { return record.order.size() == size_t{kThreads} * kTasks; });
  for (int t = 0; t < kThreads; ++t) {
    EXPECT_EQ(std::count(record.order.begin(), record.order.end(), static_cast<char>('a' + t)), kTasks);
  }
}

}  // namespace
}  // namespace rootloom::nbd
