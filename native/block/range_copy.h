// Copies ranges of one device to the same places of another, with several threads.
#pragma once

#include <span>

#include "native/block/device.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// Progress is in bytes, under the step's name. Memory is bounded: one megabyte a thread. On the first failure, or when
// the stop token is triggered, the others end after the piece that they are at, and some of the ranges are copied.
// Every thread has ended when it returns. REQUIRES: neither device's size changes meanwhile
Status CopyRanges(Device& from, Device& to, std::span<const Range> ranges, const char* step,
                  const CallContext& context);

}  // namespace rootloom
