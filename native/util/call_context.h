// CallContext: what every long native call takes besides its arguments.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "native/util/status.h"

namespace rootloom {

struct Progress {
  std::string step;    // what is going on: "apply layer", "pass 1"
  uint64_t done = 0;   // in bytes, unless the call's contract says otherwise
  uint64_t total = 0;  // 0 when not known
};

// A call checks the stop token between bounded pieces of work (some ten milliseconds at most) and then fails with
// kCancelled, having released everything. report may be called from the call's own thread as often as convenient:
// the binding coalesces.
struct CallContext {
  std::stop_token stop;
  std::function<void(const Progress&)> report = [](const Progress&) {};

  Status CheckStopped(const char* operation) const {
    return stop.stop_requested() ? Status::Cancelled(operation) : Status::Ok();
  }
};

}  // namespace rootloom
