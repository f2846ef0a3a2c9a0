// Raw export: a device as a raw disk image.
#pragma once

#include <cstdint>
#include <string>

#include "native/block/device.h"
#include "native/util/call_context.h"

namespace rootloom {

struct RawExport {
  uint64_t size_bytes = 0;  // of the image
  uint64_t data_bytes = 0;  // of it, written; the rest are holes
};

// Copies device into a sparse file at path: only extents of data are read, and blocks of zeros in them become holes
// too. The file appears whole and durable under its name (mode 0600), in place of one that was there. A cancelled
// or failed export leaves no file, and an earlier one as it was. Progress is in bytes of the image.
// What is written to the device meanwhile may or may not be in the image.
Result<RawExport> ExportRaw(Device& device, const std::string& path, const CallContext& context);

}  // namespace rootloom
