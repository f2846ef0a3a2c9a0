#include "native/block/overlay_device.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include "native/block/faulty_device.h"
#include "native/block/logging_device.h"
#include "native/block/memory_device.h"
#include "native/block/zero_device.h"
#include "test/native/block/device_testing.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kBlock = 4096;

class OverlayTest : public ::testing::Test {
 protected:
  // Over a logging device over a memory device full of ones.
  std::shared_ptr<OverlayDevice> Make(uint64_t base_blocks, uint64_t size_bytes) {
    auto memory = MemoryDevice::Create(base_blocks * kBlock).value();
    EXPECT_TRUE(IsOk(memory->Write(0, Bytes(base_blocks * kBlock, std::byte{1}))));
    base_ = std::make_shared<LoggingDevice>(memory, 100);
    return OverlayDevice::Create(base_, folder_.File("upper"), size_bytes, kBlock).value();
  }

  static uint64_t AllocatedBytes(const OverlayDevice& overlay) {
    struct stat info;
    EXPECT_EQ(::fstat(overlay.view().upper->fd(), &info), 0);
    return static_cast<uint64_t>(info.st_blocks) * 512;
  }

  TempFolder folder_;
  std::shared_ptr<LoggingDevice> base_;
};

std::vector<BlockRun> RunsOf(const OverlayDevice& overlay) {
  std::vector<BlockRun> runs;
  EXPECT_TRUE(IsOk(overlay.view().upper->states().ForEachRun([&](const BlockRun& run) {
    runs.push_back(run);
    return Status::Ok();
  })));
  return runs;
}

BlockState StateAt(const OverlayDevice& overlay, uint64_t block) {
  return overlay.view().upper->states().RunAt(block, block + 1).state;
}

TEST_F(OverlayTest, LeavesNoFileBehindEvenWhileItLives) {
  auto overlay = Make(8, 8 * kBlock);
  ASSERT_TRUE(IsOk(overlay->Write(0, Bytes(kBlock, std::byte{5}))));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(OverlayTest, RefusesAnUpperThatExistsAndABadBlockSize) {
  auto zero = ZeroDevice::Create(kBlock).value();
  std::ofstream(folder_.File("upper")) << "somebody else's";
  EXPECT_TRUE(FailedWith(OverlayDevice::Create(zero, folder_.File("upper"), kBlock, kBlock), EEXIST));
  EXPECT_EQ(std::filesystem::file_size(folder_.File("upper")), 15u);
  for (const uint32_t bad : {0u, 256u, 5000u, 128u << 20}) {
    const auto refused = OverlayDevice::Create(zero, folder_.File("other"), kBlock, bad);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().failure().kind, StatusKind::kInvalidArgument);
  }
}

TEST_F(OverlayTest, ReadsNeighboursOfOneOriginInOneGo) {
  auto overlay = Make(1024, 1024 * kBlock);
  ReadAll(*overlay);
  EXPECT_EQ(base_->CountOf(OperationKind::kRead).calls, 1u);
  ASSERT_TRUE(IsOk(overlay->Write(512 * kBlock, Bytes(kBlock, std::byte{9}))));
  base_->Reset();
  ReadAll(*overlay);
  EXPECT_EQ(base_->CountOf(OperationKind::kRead).calls, 2u);
  EXPECT_EQ(base_->CountOf(OperationKind::kRead).bytes, 1023 * kBlock);
}

TEST_F(OverlayTest, ReadsTheBaseOnceForAPartialWriteAndNeverForWholeBlocks) {
  auto overlay = Make(16, 16 * kBlock);
  ASSERT_TRUE(IsOk(overlay->Write(0, Bytes(4 * kBlock, std::byte{2}))));
  EXPECT_EQ(base_->CountOf(OperationKind::kRead).calls, 0u);
  ASSERT_TRUE(IsOk(overlay->Write(5 * kBlock + 1, Bytes(10, std::byte{3}))));
  ASSERT_TRUE(IsOk(overlay->Write(5 * kBlock + 50, Bytes(10, std::byte{4}))));
  EXPECT_EQ(base_->CountOf(OperationKind::kRead).calls, 1u);
  EXPECT_EQ(base_->CountOf(OperationKind::kRead).bytes, kBlock);
  Bytes expected(kBlock, std::byte{1});
  std::fill_n(expected.begin() + 1, 10, std::byte{3});
  std::fill_n(expected.begin() + 50, 10, std::byte{4});
  EXPECT_TRUE(SameBytes(ReadAll(*overlay, {5 * kBlock, kBlock}), expected));
  EXPECT_EQ(base_->CountOf(OperationKind::kWrite).calls, 0u);
}

TEST_F(OverlayTest, KeepsZerosAsAStateAndFreesTheirSpace) {
  auto overlay = Make(64, 64 * kBlock);
  ASSERT_TRUE(IsOk(overlay->Write(0, Bytes(64 * kBlock, std::byte{2}))));
  ASSERT_TRUE(IsOk(overlay->Flush()));
  EXPECT_EQ(overlay->Stats().data_blocks, 64u);
  EXPECT_GE(AllocatedBytes(*overlay), 64 * kBlock);
  Bytes data(4 * kBlock, std::byte{0});
  data[kBlock] = std::byte{1};
  ASSERT_TRUE(IsOk(overlay->Write(8 * kBlock, data)));           // 8 zero, 9 data, 10 and 11 zero
  ASSERT_TRUE(IsOk(overlay->Trim({16 * kBlock, 48 * kBlock})));  // 16 to 63 zero
  EXPECT_EQ(StateAt(*overlay, 8), BlockState::kZero);
  EXPECT_EQ(StateAt(*overlay, 9), BlockState::kData);
  EXPECT_EQ(overlay->Stats().zero_blocks, 51u);
  EXPECT_EQ(overlay->Stats().data_blocks, 13u);
  ASSERT_TRUE(IsOk(overlay->Flush()));
  EXPECT_LT(AllocatedBytes(*overlay), 30 * kBlock);
}

TEST_F(OverlayTest, APartialWriteOfZerosOverZerosStoresNothing) {
  auto overlay = Make(2, 8 * kBlock);
  ASSERT_TRUE(IsOk(overlay->Write(4 * kBlock + 100, Bytes(100))));
  EXPECT_EQ(overlay->Stats().data_blocks, 0u);
  ASSERT_TRUE(IsOk(overlay->Zero({5 * kBlock - 10, 20})));
  EXPECT_EQ(overlay->Stats().data_blocks, 0u);
}

TEST_F(OverlayTest, ExtentsComeFromBothSides) {
  auto memory = MemoryDevice::Create(8 * kBlock).value();
  ASSERT_TRUE(IsOk(memory->Write(kBlock, Bytes(kBlock, std::byte{1}))));  // base: hole, data, holes
  auto overlay = OverlayDevice::Create(memory, folder_.File("upper"), 10 * kBlock, kBlock).value();
  ASSERT_TRUE(IsOk(overlay->Write(2 * kBlock, Bytes(kBlock, std::byte{1}))));
  ASSERT_TRUE(IsOk(overlay->Zero({4 * kBlock, kBlock})));
  const std::vector<Extent> expected = {{{0, kBlock}, ExtentKind::kHole},
                                        {{kBlock, 2 * kBlock}, ExtentKind::kData},
                                        {{3 * kBlock, kBlock}, ExtentKind::kHole},
                                        {{4 * kBlock, kBlock}, ExtentKind::kZero},
                                        {{5 * kBlock, 5 * kBlock}, ExtentKind::kHole}};
  EXPECT_EQ(overlay->Extents({0, 10 * kBlock}).value(), expected);
}

TEST_F(OverlayTest, ShrinkingForgetsAndGrowingBringsZeros) {
  auto overlay = Make(8, 8 * kBlock);
  ASSERT_TRUE(IsOk(overlay->Write(6 * kBlock, Bytes(2 * kBlock, std::byte{7}))));
  ASSERT_TRUE(IsOk(overlay->Resize(4 * kBlock + 100)));
  EXPECT_EQ(overlay->size_bytes(), 4 * kBlock + 100);
  EXPECT_EQ(overlay->view().upper->states().block_count(), 5u);
  EXPECT_TRUE(FailedWith(overlay->Write(6 * kBlock, Bytes(1)), EINVAL));
  ASSERT_TRUE(IsOk(overlay->Resize(12 * kBlock)));
  Bytes expected(12 * kBlock);
  std::fill_n(expected.begin(), 4 * kBlock + 100, std::byte{1});
  EXPECT_TRUE(SameBytes(ReadAll(*overlay), expected));
  ASSERT_TRUE(IsOk(overlay->Freeze()));
  // What the base still has in the lost part is covered by zero blocks; beyond the base there is nothing to cover.
  const std::vector<BlockRun> runs = {
      {BlockState::kAbsent, 0, 4}, {BlockState::kData, 4, 1}, {BlockState::kZero, 5, 3}, {BlockState::kAbsent, 8, 4}};
  EXPECT_EQ(RunsOf(*overlay), runs);
}

TEST_F(OverlayTest, ResizeWaitsForRunningOperationsAndLosesNone) {
  auto overlay = Make(64, 64 * kBlock);
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t round = 1; !stop; ++round) {
        const Bytes data(kBlock, static_cast<std::byte>(1 + round % 200));
        ASSERT_TRUE(IsOk(overlay->Write((10 + i) * kBlock, data)));
        ASSERT_TRUE(SameBytes(ReadAll(*overlay, {(10 + i) * kBlock, kBlock}), data));
        const Status beyond = overlay->Write((40 + i) * kBlock + 7, Bytes(100, std::byte{9}));
        ASSERT_TRUE(beyond.ok() || FailedWith(beyond, EINVAL));
      }
    });
  }
  for (int round = 0; round < 200; ++round) {
    ASSERT_TRUE(IsOk(overlay->Resize(32 * kBlock)));
    ASSERT_TRUE(IsOk(overlay->Resize(64 * kBlock)));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(IsOk(overlay->Resize(32 * kBlock)));
  ASSERT_TRUE(IsOk(overlay->Resize(64 * kBlock)));
  EXPECT_TRUE(IsAllZero(ReadAll(*overlay, {32 * kBlock, 32 * kBlock})));
}

// Every read waits until it is let go.
class StuckDevice final : public Device {
 public:
  std::string name() const override { return "stuck device"; }
  uint64_t size_bytes() const override { return 8 * kBlock; }
  uint32_t block_size() const override { return kBlock; }
  bool writable() const override { return false; }
  Status Flush() override { return Status::Ok(); }

  std::latch reading{1};
  std::latch let_go{1};

 protected:
  Status DoRead(uint64_t, std::span<std::byte>) override {
    reading.count_down();
    let_go.wait();
    return Status::Ok();
  }
  Status DoWrite(uint64_t, std::span<const std::byte>, Durability) override { return Status::Ok(); }
  Status DoZero(Range, Durability) override { return Status::Ok(); }
  Status DoTrim(Range) override { return Status::Ok(); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t) override { return std::vector<Extent>{{range}}; }
};

// Whoever watches an overlay is not held up by a device below it that hangs, nor by who waits for that.
TEST_F(OverlayTest, StatsWaitForNothing) {
  const auto stuck = std::make_shared<StuckDevice>();
  const auto overlay = OverlayDevice::Create(stuck, folder_.File("upper"), 8 * kBlock, kBlock).value();
  std::thread reader([&] { ReadAll(*overlay); });
  stuck->reading.wait();
  std::thread resizer([&] { EXPECT_TRUE(IsOk(overlay->Resize(4 * kBlock))); });
  std::this_thread::sleep_for(
      std::chrono::milliseconds(50));  // So that it waits already, though nothing depends on it.
  EXPECT_EQ(overlay->Stats().data_blocks, 0u);
  EXPECT_FALSE(overlay->frozen());
  EXPECT_EQ(overlay->size_bytes(), 8 * kBlock);
  stuck->let_go.count_down();
  reader.join();
  resizer.join();
  EXPECT_EQ(overlay->size_bytes(), 4 * kBlock);
}

TEST_F(OverlayTest, FreezeEndsWriting) {
  auto overlay = Make(4, 8 * kBlock);
  const Bytes data(kBlock, std::byte{8});
  ASSERT_TRUE(IsOk(overlay->Write(2 * kBlock, data)));
  ASSERT_TRUE(IsOk(overlay->Zero({0, kBlock})));
  ASSERT_TRUE(IsOk(overlay->Freeze()));
  EXPECT_FALSE(overlay->writable());
  EXPECT_TRUE(FailedWith(overlay->Write(0, data), EROFS));
  EXPECT_TRUE(FailedWith(overlay->Resize(kBlock), EROFS));
  const std::vector<BlockRun> runs = {
      {BlockState::kZero, 0, 1}, {BlockState::kAbsent, 1, 1}, {BlockState::kData, 2, 1}, {BlockState::kAbsent, 3, 5}};
  EXPECT_EQ(RunsOf(*overlay), runs);
  Bytes stored(kBlock);
  ASSERT_TRUE(IsOk(PreadAll(overlay->view().upper->fd(), stored, 2 * kBlock, "upper")));
  EXPECT_TRUE(SameBytes(stored, data));
  EXPECT_TRUE(IsOk(overlay->Freeze()));
  EXPECT_TRUE(IsOk(overlay->Flush()));
}

TEST_F(OverlayTest, FreezeThatIsCancelledFreezesAndCanBeDoneAgain) {
  const auto overlay = Make(4, 64 * kBlock);
  ASSERT_TRUE(IsOk(overlay->Write(0, Bytes(kBlock, std::byte{2}))));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(overlay->Freeze({.stop = stop.get_token()}).failure().kind, StatusKind::kCancelled);
  EXPECT_TRUE(overlay->frozen());
  EXPECT_TRUE(IsOk(overlay->Freeze()));
}

TEST_F(OverlayTest, NoWriteThatSucceededIsMissingAfterFreeze) {
  auto overlay = Make(64, 64 * kBlock);
  std::array<std::atomic<uint64_t>, 4> last{};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < last.size(); ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t round = 1;; ++round) {
        Bytes data(kBlock);
        std::memcpy(data.data(), &round, sizeof round);
        const Status status = overlay->Write(i * 16 * kBlock, data);
        if (!status.ok()) {
          EXPECT_TRUE(FailedWith(status, EROFS));
          return;
        }
        last[i] = round;
      }
    });
  }
  while (last[0] < 50) std::this_thread::yield();
  ASSERT_TRUE(IsOk(overlay->Freeze()));
  const Bytes frozen = ReadAll(*overlay);
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(SameBytes(ReadAll(*overlay), frozen));
  for (uint64_t i = 0; i < last.size(); ++i) {
    uint64_t round = 0;
    std::memcpy(&round, frozen.data() + i * 16 * kBlock, sizeof round);
    EXPECT_EQ(round, last[i] == 0 ? 0x0101010101010101 : last[i].load());
  }
}

TEST_F(OverlayTest, AFailedReadOfTheBaseFailsThePartialWriteAndForbidsSealing) {
  auto faulty = std::make_shared<FaultyDevice>(MemoryDevice::Create(8 * kBlock).value());
  auto overlay = OverlayDevice::Create(faulty, folder_.File("upper"), 8 * kBlock, kBlock).value();
  faulty->Arm({.kind = OperationKind::kRead, .range = {3 * kBlock, kBlock}, .error_number = ETIMEDOUT});
  EXPECT_TRUE(FailedWith(overlay->Write(3 * kBlock + 1, Bytes(5, std::byte{1})), ETIMEDOUT));
  EXPECT_TRUE(IsOk(overlay->Write(3 * kBlock, Bytes(kBlock, std::byte{1}))));
  EXPECT_TRUE(IsOk(overlay->Flush()));
  EXPECT_TRUE(FailedWith(overlay->Freeze(), ETIMEDOUT));
  EXPECT_TRUE(FailedWith(overlay->Freeze(), ETIMEDOUT));
  EXPECT_TRUE(overlay->frozen());
}

TEST_F(OverlayTest, AFileSizeLimitIsAnErrorReply) {
  struct sigaction ignore {
  }, old_action{};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(::sigaction(SIGXFSZ, &ignore, &old_action), 0);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  auto overlay = Make(8, 8 * kBlock);
  const rlimit limit{4 * kBlock, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Status beyond = overlay->Write(6 * kBlock, Bytes(kBlock, std::byte{1}));
  const Status grown = overlay->Resize(64 * kBlock);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  ASSERT_EQ(::sigaction(SIGXFSZ, &old_action, nullptr), 0);
  EXPECT_TRUE(FailedWith(beyond, EFBIG));
  EXPECT_TRUE(FailedWith(grown, EFBIG));
  EXPECT_EQ(overlay->size_bytes(), 8 * kBlock);
  EXPECT_EQ(StateAt(*overlay, 6), BlockState::kAbsent);
}

TEST_F(OverlayTest, AFullHostIsAnErrorReplyAndWhatWasThereStays) {
  const MountedFolder small("tmpfs", "size=1m");
  auto base = ZeroDevice::Create(8 * kBlock).value();
  auto overlay = OverlayDevice::Create(base, small.File("upper"), 1024 * kBlock, kBlock).value();
  Status status;
  uint64_t written = 0;
  while (status.ok() && written < 1024) {
    status = overlay->Write(written * kBlock, Bytes(kBlock, std::byte{6}));
    if (status.ok()) ++written;
  }
  ASSERT_TRUE(FailedWith(status, ENOSPC));
  EXPECT_EQ(status.failure().kind, StatusKind::kNoSpace);
  EXPECT_EQ(status.failure().offset_bytes, written * kBlock);
  EXPECT_GE(written, 200u);
  EXPECT_TRUE(SameBytes(ReadAll(*overlay, {0, written * kBlock}), Bytes(written * kBlock, std::byte{6})));
  // Space that is freed can be used again, but the disk has a hole that its user may not know of.
  ASSERT_TRUE(IsOk(overlay->Trim({0, 16 * kBlock})));
  EXPECT_TRUE(IsOk(overlay->Write(written * kBlock, Bytes(kBlock, std::byte{6}))));
  EXPECT_TRUE(FailedWith(overlay->Freeze(), ENOSPC));
}

// Calls of write and its kin by this thread so far.
uint64_t CountWriteCalls() {
  std::ifstream counters("/proc/thread-self/io");
  std::string name;
  uint64_t count = 0;
  while (counters >> name >> count) {
    if (name == "syscw:") return count;
  }
  ADD_FAILURE() << "the kernel does not count system calls";
  return 0;
}

TEST_F(OverlayTest, WritesARowOfWholeBlocksAtOnce) {
  auto overlay = Make(32, 32 * kBlock);
  const Bytes data(kBlock, std::byte{6});
  const Bytes zeros(kBlock);
  const std::span<const std::byte> row[] = {data, data, data, data, zeros, data, data};
  Status outcomes[7];
  const auto count_writes_at = [&](uint64_t block) {
    const uint64_t before = CountWriteCalls();
    overlay->WriteRow(block * kBlock, row, Durability::kBuffered, outcomes);
    return CountWriteCalls() - before;
  };
  count_writes_at(2);  // The first time a sanitizer may write, too, to learn which memory it can read.
  EXPECT_EQ(count_writes_at(18), 2u) << "one on each side of the zeros";
  for (const Status& outcome : outcomes) EXPECT_TRUE(IsOk(outcome));
  EXPECT_EQ(overlay->Stats().data_blocks, 12u);
  EXPECT_EQ(overlay->Stats().zero_blocks, 2u);
  EXPECT_EQ(base_->CountOf(OperationKind::kRead).calls, 0u);
}

TEST_F(OverlayTest, ARowOnAFullHostSucceedsAsFarAsThereIsSpace) {
  const MountedFolder small("tmpfs", "size=1m");
  auto base = ZeroDevice::Create(8 * kBlock).value();
  auto overlay = OverlayDevice::Create(base, small.File("upper"), 1024 * kBlock, kBlock).value();
  const Bytes data(kBlock, std::byte{6});
  const std::vector<std::span<const std::byte>> row(60, data);  // Of which no whole number fits.
  uint64_t written = 0;
  bool failed = false;
  for (uint64_t block = 0; !failed && block < 1024; block += row.size()) {
    std::vector<Status> outcomes(row.size());
    overlay->WriteRow(block * kBlock, row, Durability::kBuffered, outcomes);
    for (const Status& outcome : outcomes) {
      if (outcome.ok() && !failed) {
        ++written;
      } else {
        failed = true;
        ASSERT_TRUE(FailedWith(outcome, ENOSPC));
      }
    }
  }
  ASSERT_TRUE(failed);
  EXPECT_GE(written, 200u);
  EXPECT_NE(written % row.size(), 0u) << "it became full within a row";
  EXPECT_TRUE(SameBytes(ReadAll(*overlay, {0, written * kBlock}), Bytes(written * kBlock, std::byte{6})));
  EXPECT_TRUE(FailedWith(overlay->Freeze(), ENOSPC));
}

TEST_F(OverlayTest, AnnouncesToItsBaseWhatReadingWouldAskItFor) {
  auto overlay = Make(8, 16 * kBlock);
  ASSERT_TRUE(IsOk(overlay->Write(2 * kBlock, Bytes(kBlock, std::byte{5}))));
  ASSERT_TRUE(IsOk(overlay->Zero({3 * kBlock, kBlock})));
  const Range ranges[] = {{0, 12 * kBlock}, {9 * kBlock, kBlock}};
  overlay->Prefetch(ranges);
  const OperationCount count = base_->CountOf(OperationKind::kPrefetch);
  EXPECT_EQ(count.calls, 1u);
  EXPECT_EQ(count.distinct_blocks, 6u);
  overlay->Prefetch(std::span(ranges).subspan(1));
  EXPECT_EQ(base_->CountOf(OperationKind::kPrefetch).calls, 1u);
}

}  // namespace
}  // namespace rootloom::testing
