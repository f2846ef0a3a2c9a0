// What Device's public calls do for every implementation.
#include "native/block/device.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <new>

#include "test/native/block/device_testing.h"

namespace rootloom::testing {
namespace {

// There is never any memory for what it would have to allocate.
class DeviceWithoutMemory final : public Device {
 public:
  std::string name() const override { return "device without memory"; }
  uint64_t size_bytes() const override { return 4096; }
  uint32_t block_size() const override { return 4096; }
  bool writable() const override { return true; }
  Status Flush() override { return Status::Ok(); }

 protected:
  Status DoRead(uint64_t, std::span<std::byte>) override { throw std::bad_alloc(); }
  Status DoWrite(uint64_t, std::span<const std::byte>, Durability) override { throw std::bad_alloc(); }
  Status DoZero(Range, Durability) override { throw std::bad_alloc(); }
  Status DoTrim(Range) override { throw std::bad_array_new_length(); }
  Result<std::vector<Extent>> DoExtents(Range, size_t) override { throw std::bad_alloc(); }
};

void ExpectNoMemory(const Status& status, const char* operation) {
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.failure().kind, StatusKind::kIo);
  EXPECT_EQ(status.failure().error_number, ENOMEM);
  EXPECT_EQ(status.failure().operation, operation);
  EXPECT_EQ(status.failure().path, "device without memory");
  EXPECT_EQ(status.failure().offset_bytes, 512u);
}

TEST(DeviceTest, TurnsAWantOfMemoryIntoAFailure) {
  DeviceWithoutMemory device;
  Bytes bytes(512);
  ExpectNoMemory(device.Read(512, bytes), "read");
  ExpectNoMemory(device.Write(512, bytes), "write");
  const std::span<const std::byte> row[] = {{}, bytes};
  Status outcomes[2];
  device.WriteRow(512, row, Durability::kBuffered, outcomes);
  EXPECT_TRUE(IsOk(outcomes[0])) << "an empty piece takes none";
  ExpectNoMemory(outcomes[1], "write");
  ExpectNoMemory(device.Zero({512, 512}), "zero");
  ExpectNoMemory(device.Trim({512, 512}), "trim");
  ExpectNoMemory(device.Extents({512, 512}).status(), "map extents of");
}

}  // namespace
}  // namespace rootloom::testing
