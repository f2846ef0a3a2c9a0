// Gate: lets any number of operations through at once, and lets a rare one stop them all.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace rootloom {

// A reader-writer lock for a path that is entered all the time and closed almost never. Entering touches one counter
// that few other threads use, so that operations on different cores do not meet. Closing cannot be starved: from then
// on nobody enters. An operation must not enter twice, nor close the gate that it has entered.
class Gate {
 public:
  // Passes through; waits while the gate is closed.
  class Pass {
   public:
    explicit Pass(Gate& gate) : gate_(gate), slot_(gate.Enter()) {}
    ~Pass() { gate_.Leave(slot_); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

   private:
    Gate& gate_;
    std::atomic<uint32_t>& slot_;
  };

  // Closes the gate, waits until everybody inside has left, and opens it again when destroyed.
  class Closure {
   public:
    explicit Closure(Gate& gate) : gate_(gate) { gate_.Close(); }
    ~Closure() { gate_.Open(); }
    Closure(const Closure&) = delete;
    Closure& operator=(const Closure&) = delete;

   private:
    Gate& gate_;
  };

 private:
  struct alignas(64) Slot {
    std::atomic<uint32_t> inside = 0;
  };

  std::atomic<uint32_t>& Enter();
  void Leave(std::atomic<uint32_t>& inside);
  void Close();
  void Open();

  std::array<Slot, 16> slots_;
  std::atomic<bool> closed_ = false;  // written under mutex_
  std::mutex closing_;                // held from Close to Open
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace rootloom
