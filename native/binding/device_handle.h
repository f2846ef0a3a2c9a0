// The handle of any block device. What only some devices can do asks for them with FromDeviceHandle.
#pragma once

#include <memory>
#include <string>

#include "native/binding/handles.h"
#include "native/block/device.h"

namespace rootloom::binding {

ROOTLOOM_DEFINE_HANDLE_TAG(Device, 0x726f6f746c6f6f6dULL, 0x0000000000000001ULL, "device handle");

// The device behind a handle as what it really is; throws a TypeError that names wanted ("an overlay") if it is
// something else, and what FromHandle throws.
template <typename T>
std::shared_ptr<T> FromDeviceHandle(const Napi::Value& value, const char* wanted) {
  auto device = std::dynamic_pointer_cast<T>(FromHandle<Device>(value));
  if (device != nullptr) return device;
  throw Napi::TypeError::New(value.Env(), std::string("Cannot use this device: it must be ") + wanted);
}

}  // namespace rootloom::binding
