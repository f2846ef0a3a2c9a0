// Waiting for something that nobody tells of.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <stop_token>
#include <thread>

namespace rootloom::nbd {

// Asks again and again, each time after a longer sleep, from one millisecond to a twentieth of a second. False when the
// limit has passed or a stop was requested before the answer was yes.
inline bool WaitUntil(std::chrono::milliseconds limit, const std::stop_token& stop, const std::function<bool()>& done) {
  using namespace std::chrono_literals;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (std::chrono::milliseconds pause = 1ms; !done(); pause = std::min<std::chrono::milliseconds>(pause * 2, 50ms)) {
    if (stop.stop_requested() || std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

}  // namespace rootloom::nbd
