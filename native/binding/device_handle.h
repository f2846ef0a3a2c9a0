// The handle of any block device.
#pragma once

#include "native/binding/handles.h"
#include "native/block/device.h"

namespace rootloom::binding {

ROOTLOOM_DEFINE_HANDLE_TAG(Device, 0x726f6f746c6f6f6dULL, 0x0000000000000001ULL, "device handle");

}  // namespace rootloom::binding
