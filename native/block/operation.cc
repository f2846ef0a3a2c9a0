#include "native/block/operation.h"

namespace rootloom {

const char* OperationKindName(OperationKind kind) {
  switch (kind) {
    case OperationKind::kRead:
      return "read";
    case OperationKind::kWrite:
      return "write";
    case OperationKind::kZero:
      return "zero";
    case OperationKind::kTrim:
      return "trim";
    case OperationKind::kFlush:
      return "flush";
    case OperationKind::kExtents:
      return "extents";
    case OperationKind::kPrefetch:
      return "prefetch";
  }
  return "";
}

}  // namespace rootloom
