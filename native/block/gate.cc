#include "native/block/gate.h"

#include <algorithm>

namespace rootloom {

namespace {

size_t ThreadIndex() {
  static std::atomic<size_t> next = 0;
  thread_local const size_t index = next.fetch_add(1, std::memory_order_relaxed);
  return index;
}

}  // namespace

// The counter is changed before closed_ is read, and Close writes closed_ before it reads the counters. In the one
// order of these sequentially consistent accesses either the thread sees the closed gate, or Close sees the thread.
std::atomic<uint32_t>& Gate::Enter() {
  std::atomic<uint32_t>& inside = slots_[ThreadIndex() % slots_.size()].inside;
  for (;;) {
    inside.fetch_add(1);
    if (!closed_.load()) return inside;
    Leave(inside);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !closed_.load(); });
  }
}

void Gate::Leave(std::atomic<uint32_t>& inside) {
  inside.fetch_sub(1);
  if (!closed_.load()) return;
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void Gate::Close() {
  closing_.lock();
  std::unique_lock lock(mutex_);
  closed_.store(true);
  changed_.wait(lock, [this] {
    return std::all_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.inside.load() == 0; });
  });
}

void Gate::Open() {
  {
    std::lock_guard lock(mutex_);
    closed_.store(false);
    changed_.notify_all();
  }
  closing_.unlock();
}

}  // namespace rootloom
