// The rate of this host's time stamp counter.
#pragma once

#include <cstdint>

#include "native/util/status.h"

namespace rootloom {

// Measures the counter against CLOCK_MONOTONIC over some 50 ms; good to about 20 ppm on an idle host, and within
// 200 ppm on a busy one, because each pair of readings is the tightest of several. kUnsupported on other processors
// than x86-64.
//
// A guest under QEMU's TCG reads this very counter, and cannot reliably measure its rate by itself: the only timer it
// could measure against is emulated, and a delay of the emulator is taken for the timer's.
Result<uint64_t> MeasureTscKhz();

}  // namespace rootloom
