// DeviceIo: the transfers that e2fsprogs asks for, also those that make no sense.
#include <gtest/gtest.h>

#include <cerrno>

#include "native/block/logging_device.h"
#include "native/block/memory_device.h"
#include "native/ext4/io_manager.h"
#include "test/native/util/status_matchers.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kBlock = 4096;

// Triggers a stop token with the first thing that it zeroes.
class StoppingDevice final : public Device {
 public:
  StoppingDevice(std::shared_ptr<Device> inner, std::stop_source stop)
      : inner_(std::move(inner)), stop_(std::move(stop)) {}
  std::string name() const override { return inner_->name(); }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  uint32_t block_size() const override { return inner_->block_size(); }
  bool writable() const override { return true; }
  Status Flush() override { return inner_->Flush(); }

 protected:
  Status DoRead(uint64_t offset, std::span<std::byte> buffer) override { return inner_->Read(offset, buffer); }
  Status DoWrite(uint64_t offset, std::span<const std::byte> data, Durability durability) override {
    return inner_->Write(offset, data, durability);
  }
  Status DoZero(Range range, Durability durability) override {
    stop_.request_stop();
    return inner_->Zero(range, durability);
  }
  Status DoTrim(Range range) override { return inner_->Trim(range); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override {
    return inner_->Extents(range, max_count);
  }

 private:
  const std::shared_ptr<Device> inner_;
  std::stop_source stop_;
};

void WriteEverySecondBlock(Device& device) {
  const std::vector<std::byte> block(kBlock, std::byte{1});
  for (uint64_t offset = 0; offset < device.size_bytes(); offset += 2 * kBlock) {
    ASSERT_TRUE(IsOk(device.Write(offset, block)));
  }
}

TEST(DeviceIo, WritesNothingThroughAChannelThatWasOpenedReadOnly) {
  auto logging = std::make_shared<LoggingDevice>(MemoryDevice::Create(16 * kBlock).value());
  WriteEverySecondBlock(*logging);
  logging->Reset();
  DeviceIo io(logging);
  io_channel channel = nullptr;
  ASSERT_EQ(io.Open(0, &channel), 0);
  const std::vector<std::byte> data(kBlock);
  EXPECT_EQ(io_channel_write_blk64(channel, 0, 1, data.data()), EROFS);
  EXPECT_EQ(io_channel_write_byte(channel, 0, 8, data.data()), EROFS);
  EXPECT_EQ(io_channel_zeroout(channel, 0, 2), EROFS);
  EXPECT_EQ(io_channel_discard(channel, 0, 2), EROFS);
  EXPECT_FALSE(io.has_failure()) << "the device has not failed";
  for (const OperationKind kind : {OperationKind::kWrite, OperationKind::kZero, OperationKind::kTrim}) {
    EXPECT_EQ(logging->CountOf(kind).calls, 0u);
  }
  io_channel_close(channel);
}

TEST(DeviceIo, ZeroesAnyNumberOfExtentsAndNothingElse) {
  auto logging = std::make_shared<LoggingDevice>(MemoryDevice::Create(10'000 * kBlock).value());
  WriteEverySecondBlock(*logging);
  DeviceIo io(logging);
  ASSERT_EQ(io.Zero({kBlock, 9'998 * kBlock}), 0);
  EXPECT_EQ(io.counts().zeroed_bytes, 4'999 * kBlock);
  EXPECT_EQ(logging->CountOf(OperationKind::kZero).bytes, 4'999 * kBlock);
  const auto extents = logging->Extents({0, 10'000 * kBlock});
  ASSERT_TRUE(IsOk(extents));
  EXPECT_EQ(extents.value().size(), 2u);
}

TEST(DeviceIo, StopsZeroingBetweenExtentsAndWithinALongOne) {
  for (const bool in_pieces : {true, false}) {
    auto logging = std::make_shared<LoggingDevice>(MemoryDevice::Create(uint64_t{128} << 20).value());
    if (in_pieces) {
      WriteEverySecondBlock(*logging);
    } else {
      const std::vector<std::byte> all(logging->size_bytes(), std::byte{1});
      ASSERT_TRUE(IsOk(logging->Write(0, all)));
    }
    std::stop_source stop;
    DeviceIo io(std::make_shared<StoppingDevice>(logging, stop));
    io.SetStopToken(stop.get_token());
    EXPECT_EQ(io.Zero({0, logging->size_bytes()}), ECANCELED);
    EXPECT_EQ(logging->CountOf(OperationKind::kZero).calls, 1u);
    EXPECT_EQ(io.TakeFailure()->kind, StatusKind::kCancelled);
  }
}

TEST(DeviceIo, TakesABlockNumberThatOverflowsForOneBeyondTheEnd) {
  DeviceIo io(MemoryDevice::Create(16 * kBlock).value());
  io_channel channel = nullptr;
  ASSERT_EQ(io.Open(IO_FLAG_RW, &channel), 0);
  ASSERT_EQ(io_channel_set_blksize(channel, kBlock), 0);
  std::vector<std::byte> block(kBlock);
  const unsigned long long wrapping = (1ULL << 52) + 1;  // times the block size: 2^64 and one block
  EXPECT_EQ(io_channel_read_blk64(channel, wrapping, 1, block.data()), EXT2_ET_SHORT_READ);
  EXPECT_EQ(io_channel_write_blk64(channel, wrapping, 1, block.data()), EXT2_ET_SHORT_WRITE);
  EXPECT_EQ(io_channel_zeroout(channel, wrapping, 1), EXT2_ET_SHORT_WRITE);
  EXPECT_FALSE(io.has_failure());
  EXPECT_EQ(io_channel_close(channel), 0);
}

}  // namespace
}  // namespace rootloom::testing
