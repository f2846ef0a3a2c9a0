// What tests of native/isolation share.
#pragma once

#include <string>

#include "native/isolation/isolated_ext4.h"
#include "native/isolation/tree/isolated_tree.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {

#ifdef ROOTLOOM_SANITIZE
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// The helper with room for its files in a folder of its own.
class Isolation {
 public:
  IsolationOptions options(const std::string& helper_path = ROOTLOOM_HELPER) const {
    IsolationOptions options;
    options.helper_path = helper_path;
    options.scratch_path = folder_.File("scratch");
    return options;
  }

 private:
  TempFolder folder_;
};

inline std::string ReadAll(Device& device) {
  std::string bytes(device.size_bytes(), '\0');
  EXPECT_TRUE(IsOk(device.Read(0, std::as_writable_bytes(std::span(bytes)))));
  return bytes;
}

// A memory device with an empty filesystem of our profile.
inline std::shared_ptr<Device> SomeFilesystem(uint64_t size_bytes, uint64_t device_bytes) {
  auto device = MemoryDevice::Create(device_bytes, 4096);
  EXPECT_TRUE(IsOk(device));
  MkfsRequest request = SomeMkfsRequest();
  request.size_bytes = size_bytes;
  EXPECT_TRUE(IsOk(MakeFilesystem(device.value(), request, CallContext())));
  return device.value();
}

}  // namespace rootloom::testing
