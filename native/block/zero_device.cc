#include "native/block/zero_device.h"

#include <cerrno>
#include <cstring>

namespace rootloom {

Result<std::shared_ptr<ZeroDevice>> ZeroDevice::Create(uint64_t size_bytes, uint32_t block_size) {
  ROOTLOOM_RETURN_IF_ERROR(CheckBlockSize("create a zero device", block_size));
  return std::shared_ptr<ZeroDevice>(new ZeroDevice(size_bytes, block_size));
}

Status ZeroDevice::DoRead(uint64_t, std::span<std::byte> buffer) {
  std::memset(buffer.data(), 0, buffer.size());
  return Status::Ok();
}

Result<std::vector<Extent>> ZeroDevice::DoExtents(Range range, size_t) {
  return std::vector<Extent>{{range, ExtentKind::kHole}};
}

Status ZeroDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte>, Durability) {
  return Status::Errno("write", name(), EROFS, offset_bytes);
}

Status ZeroDevice::DoZero(Range range, Durability) { return Status::Errno("zero", name(), EROFS, range.offset_bytes); }

Status ZeroDevice::DoTrim(Range range) { return Status::Errno("trim", name(), EROFS, range.offset_bytes); }

}  // namespace rootloom
