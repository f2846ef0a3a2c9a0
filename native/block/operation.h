// Operation: one call on a device, as the doubles that watch a device speak of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/block/device.h"

namespace rootloom {

enum class OperationKind : uint8_t { kRead, kWrite, kZero, kTrim, kFlush, kExtents, kPrefetch };
constexpr size_t kOperationKindCount = 7;

// "read", "write", "zero", "trim", "flush", "extents" or "prefetch".
const char* OperationKindName(OperationKind kind);

struct Operation {
  OperationKind kind = OperationKind::kRead;
  Range range;  // empty for a flush
  Durability durability = Durability::kBuffered;
};

}  // namespace rootloom
