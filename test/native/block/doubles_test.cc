// The devices that watch and that fail.
#include <cerrno>
#include <chrono>
#include <thread>

#include "native/block/faulty_device.h"
#include "native/block/logging_device.h"
#include "native/block/memory_device.h"
#include "test/native/block/device_testing.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kBlock = 4096;

std::shared_ptr<Device> SixteenBlocks() { return MemoryDevice::Create(16 * kBlock).value(); }

TEST(LoggingDeviceTest, CountsCallsBytesDistinctBlocksAndFailures) {
  LoggingDevice logging(SixteenBlocks());
  ASSERT_TRUE(IsOk(logging.Write(kBlock - 1, Bytes(2, std::byte{1}))));
  ASSERT_TRUE(IsOk(logging.Write(0, Bytes(kBlock, std::byte{1}))));
  ReadAll(logging, {0, 4 * kBlock});
  ASSERT_TRUE(IsOk(logging.Zero({0, kBlock})));
  ASSERT_TRUE(IsOk(logging.Flush()));
  EXPECT_EQ(logging.CountOf(OperationKind::kWrite).calls, 2u);
  EXPECT_EQ(logging.CountOf(OperationKind::kWrite).bytes, kBlock + 2);
  EXPECT_EQ(logging.CountOf(OperationKind::kWrite).distinct_blocks, 2u);
  EXPECT_EQ(logging.CountOf(OperationKind::kRead).distinct_blocks, 4u);
  EXPECT_EQ(logging.CountOf(OperationKind::kZero).calls, 1u);
  EXPECT_EQ(logging.CountOf(OperationKind::kFlush).calls, 1u);
  EXPECT_EQ(logging.CountOf(OperationKind::kTrim).calls, 0u);
  logging.Reset();
  EXPECT_EQ(logging.CountOf(OperationKind::kWrite).distinct_blocks, 0u);
}

TEST(LoggingDeviceTest, CountsWhatIsAnnouncedAndLeavesOutWhatCannotBeRead) {
  LoggingDevice logging(SixteenBlocks(), 10);
  const Range ranges[] = {{0, kBlock}, {5 * kBlock, 0}, {15 * kBlock, 9 * kBlock}, {UINT64_MAX, 1}};
  logging.Prefetch(ranges);
  const OperationCount count = logging.CountOf(OperationKind::kPrefetch);
  EXPECT_EQ(count.calls, 1u);
  EXPECT_EQ(count.bytes, 2 * kBlock);
  EXPECT_EQ(count.distinct_blocks, 2u);
  ASSERT_EQ(logging.Log().size(), 2u);
  EXPECT_EQ(logging.Log()[1].operation.range, (Range{15 * kBlock, kBlock}));
  logging.Prefetch(std::span(ranges).subspan(1, 1));
  EXPECT_EQ(logging.CountOf(OperationKind::kPrefetch).calls, 1u);
}

TEST(LoggingDeviceTest, KeepsTheLastOperations) {
  auto faulty = std::make_shared<FaultyDevice>(SixteenBlocks());
  LoggingDevice logging(faulty, 2);
  ASSERT_TRUE(IsOk(logging.Flush()));
  ASSERT_TRUE(IsOk(logging.Write(5, Bytes(7), Durability::kDurable)));
  faulty->Arm({.error_number = ENXIO});
  ASSERT_FALSE(logging.Trim({0, kBlock}).ok());
  const std::vector<LoggedOperation> log = logging.Log();
  ASSERT_EQ(log.size(), 2u);
  EXPECT_EQ(log[0].operation.kind, OperationKind::kWrite);
  EXPECT_EQ(log[0].operation.range, (Range{5, 7}));
  EXPECT_EQ(log[0].operation.durability, Durability::kDurable);
  EXPECT_FALSE(log[0].failed);
  EXPECT_EQ(log[1].operation.kind, OperationKind::kTrim);
  EXPECT_EQ(log[1].error_number, ENXIO);
  EXPECT_EQ(logging.CountOf(OperationKind::kTrim).failures, 1u);
}

TEST(LoggingDeviceTest, GivesTheLogAwayOnce) {
  LoggingDevice logging(SixteenBlocks(), 2);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(IsOk(logging.Flush()));
  const TakenLog first = logging.TakeLog();
  EXPECT_EQ(first.operations.size(), 2u);
  EXPECT_EQ(first.missed, 1u);
  ASSERT_TRUE(IsOk(logging.Trim({0, kBlock})));
  const TakenLog second = logging.TakeLog();
  ASSERT_EQ(second.operations.size(), 1u);
  EXPECT_EQ(second.operations[0].operation.kind, OperationKind::kTrim);
  EXPECT_EQ(second.missed, 0u);
  EXPECT_EQ(logging.CountOf(OperationKind::kFlush).calls, 3u);
}

TEST(FaultyDeviceTest, HitsWhatThePlanSaysAndNothingElse) {
  FaultyDevice faulty(SixteenBlocks());
  faulty.Arm({.kind = OperationKind::kRead, .skip = 2, .count = 1, .error_number = EIO});
  Bytes byte(1);
  EXPECT_TRUE(IsOk(faulty.Read(0, byte)));
  EXPECT_TRUE(IsOk(faulty.Read(0, byte)));
  EXPECT_TRUE(IsOk(faulty.Write(0, byte)));
  EXPECT_TRUE(FailedWith(faulty.Read(0, byte), EIO));
  EXPECT_TRUE(IsOk(faulty.Read(0, byte)));
  EXPECT_EQ(faulty.hit_count(), 1u);
}

TEST(FaultyDeviceTest, HitsARangeUntilDisarmed) {
  FaultyDevice faulty(SixteenBlocks());
  faulty.Arm({.range = {2 * kBlock, kBlock}, .error_number = ENOSPC});
  const Bytes byte(1, std::byte{1});
  EXPECT_TRUE(IsOk(faulty.Write(2 * kBlock - 1, byte)));
  EXPECT_TRUE(FailedWith(faulty.Write(2 * kBlock - 1, Bytes(2)), ENOSPC));
  EXPECT_TRUE(FailedWith(faulty.Write(3 * kBlock - 1, byte), ENOSPC));
  EXPECT_TRUE(IsOk(faulty.Write(3 * kBlock, byte)));
  EXPECT_TRUE(FailedWith(faulty.Zero({0, 16 * kBlock}), ENOSPC));
  EXPECT_EQ(ReadAll(faulty, {2 * kBlock - 1, 1})[0], std::byte{1}) << "a failed write must not have changed anything";
  faulty.Disarm();
  EXPECT_TRUE(IsOk(faulty.Zero({0, 16 * kBlock})));
}

TEST(FaultyDeviceTest, HitsOnePieceOfARow) {
  auto memory = SixteenBlocks();
  FaultyDevice device(memory);
  device.Arm({.kind = OperationKind::kWrite, .range = {8192, 4096}, .error_number = ENOSPC});
  const Bytes data(4096, std::byte{9});
  const std::span<const std::byte> row[] = {data, data, data, data};
  Status outcomes[4];
  device.WriteRow(0, row, Durability::kBuffered, outcomes);
  for (const size_t piece : {0, 1, 3}) {
    EXPECT_TRUE(IsOk(outcomes[piece]));
    EXPECT_TRUE(SameBytes(ReadAll(*memory, {piece * 4096, 4096}), data));
  }
  EXPECT_TRUE(FailedWith(outcomes[2], ENOSPC));
  EXPECT_TRUE(SameBytes(ReadAll(*memory, {8192, 4096}), Bytes(4096)));
}

TEST(FaultyDeviceTest, Delays) {
  FaultyDevice faulty(SixteenBlocks());
  faulty.Arm({.kind = OperationKind::kFlush, .delay = std::chrono::milliseconds(30)});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(IsOk(faulty.Flush()));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(30));
}

TEST(FaultyDeviceTest, ACrashLosesExactlyWhatWasNotFlushed) {
  auto inner = SixteenBlocks();
  FaultyDevice faulty(inner, FaultyDevice::Cache::kVolatile);
  ASSERT_TRUE(IsOk(faulty.Write(0, Bytes(2 * kBlock, std::byte{1}))));
  ASSERT_TRUE(IsOk(faulty.Flush()));
  ASSERT_TRUE(IsOk(faulty.Write(kBlock + 10, Bytes(2 * kBlock, std::byte{2}))));               // lost
  ASSERT_TRUE(IsOk(faulty.Write(kBlock + 20, Bytes(5, std::byte{3}), Durability::kDurable)));  // kept
  ASSERT_TRUE(IsOk(faulty.Write(8 * kBlock, Bytes(3, std::byte{4}), Durability::kDurable)));   // kept
  ASSERT_TRUE(IsOk(faulty.Trim({0, kBlock})));                                                 // lost
  ASSERT_TRUE(IsOk(faulty.Crash()));
  EXPECT_TRUE(FailedWith(faulty.Write(0, Bytes(1)), EIO));
  EXPECT_TRUE(FailedWith(faulty.Flush(), EIO));
  Bytes expected(16 * kBlock);
  std::fill_n(expected.begin(), 2 * kBlock, std::byte{1});
  std::fill_n(expected.begin() + kBlock + 20, 5, std::byte{3});
  std::fill_n(expected.begin() + 8 * kBlock, 3, std::byte{4});
  EXPECT_TRUE(SameBytes(ReadAll(*inner), expected));
}

}  // namespace
}  // namespace rootloom::testing
