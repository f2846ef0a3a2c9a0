// What operations on a filesystem cost a disk whose data is far away: distinct blocks and chunks, and round trips.
#include <gtest/gtest.h>

#include "native/block/logging_device.h"
#include "native/block/zero_device.h"
#include "native/ext4/fsck.h"
#include "native/ext4/io_counts.h"
#include "native/ext4/journal.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(TouchedBlocks, CountsEachBlockAndChunkOnce) {
  TouchedBlocks touched;
  touched.Add({0, 0});
  EXPECT_EQ(touched.block_count(), 0u);
  touched.Add({4095, 2});
  EXPECT_EQ(touched.block_count(), 2u);
  EXPECT_EQ(touched.chunk_count(), 1u);
  touched.Add({0, 65536 + 1});
  EXPECT_EQ(touched.block_count(), 17u);
  EXPECT_EQ(touched.chunk_count(), 2u);
  touched.Add({8192, 4096});
  touched.Add({65536 * 1000, 1});
  EXPECT_EQ(touched.block_count(), 18u);
  EXPECT_EQ(touched.chunk_count(), 3u);
}

class ResizeIoTest : public ::testing::Test {
 protected:
  std::shared_ptr<Device> Overlay(std::shared_ptr<Device> base, uint64_t size_bytes) {
    auto overlay = OverlayDevice::Create(std::move(base), folder_.File(std::to_string(++count_)), size_bytes, 4096);
    EXPECT_TRUE(IsOk(overlay));
    return overlay.value();
  }

  std::shared_ptr<Device> MakeEmpty(uint64_t size_bytes) {
    auto zeros = ZeroDevice::Create(size_bytes, 4096);
    EXPECT_TRUE(IsOk(zeros));
    auto disk = Overlay(zeros.value(), size_bytes);
    EXPECT_TRUE(IsOk(MakeFilesystem(disk, SomeMkfsRequest(), CallContext())));
    return disk;
  }

  // By the stock tool, with so many files.
  std::shared_ptr<Device> MakeFull(uint64_t size_bytes, int file_count) {
    MakeContent(folder_.File("content"), file_count);
    const std::string path = folder_.File("image");
    EXPECT_TRUE(ToolSucceeds("mke2fs -q -t ext4 -d '" + folder_.File("content") + "' '" + path + "' " +
                             std::to_string(size_bytes / 1024) + "k"));
    return OpenImage(path);
  }

  // A log of what reaches the base when that is resized on an overlay.
  Result<ResizeReport> ResizeLogged(std::shared_ptr<Device> base, uint64_t size_bytes) {
    log_ = std::make_shared<LoggingDevice>(base, 1 << 20);
    auto disk = Overlay(log_, std::max(size_bytes, base->size_bytes()));
    return Resize(disk, {.size_bytes = size_bytes, .time = 1'700'000'000}, scratch_.factory(), CallContext());
  }

  // Every block that was read from the base had been announced.
  void ExpectAnnounced() {
    TouchedBlocks announced;
    for (const LoggedOperation& entry : log_->Log()) {
      if (entry.operation.kind == OperationKind::kPrefetch) announced.Add(entry.operation.range);
      if (entry.operation.kind != OperationKind::kRead) continue;
      const uint64_t before = announced.block_count();
      announced.Add(entry.operation.range);
      EXPECT_EQ(announced.block_count(), before) << "nobody announced " << entry.operation.range.offset_bytes;
    }
  }

  TempFolder folder_;
  Scratch scratch_;
  std::shared_ptr<LoggingDevice> log_;
  int count_ = 0;
};

TEST_F(ResizeIoTest, GrowingAHundredfoldReadsEightBlocksInFourRoundTrips) {
  const auto report = ResizeLogged(MakeEmpty(kGiB), 100 * kGiB);
  ASSERT_TRUE(IsOk(report));
  EXPECT_LE(report->io.blocks_read, 8u);
  EXPECT_LE(report->io.chunks_read, 4u);
  EXPECT_LE(report->io.written_bytes, 16 * kMiB / 10);
  EXPECT_LE(report->io.blocks_written * 4096, 16 * kMiB / 10);
  EXPECT_LE(report->io.prefetch_calls, 4u);
  EXPECT_FALSE(report->checked);
  // Not even the parts of blocks that are written need more of the base.
  EXPECT_LE(log_->CountOf(OperationKind::kRead).distinct_blocks, 8u);
  ExpectAnnounced();
}

TEST_F(ResizeIoTest, GrowingAFullDiskReadsItsDescriptorsAndBitmaps) {
  const auto report = ResizeLogged(MakeFull(4 * kGiB, 5'000), 64 * kGiB);
  ASSERT_TRUE(IsOk(report));
  EXPECT_LE(report->io.blocks_read, 32u);
  EXPECT_LE(report->io.chunks_read, 6u);
  EXPECT_LE(report->io.prefetch_calls, 4u);
  EXPECT_LE(log_->CountOf(OperationKind::kRead).distinct_blocks, 32u);
  ExpectAnnounced();
}

TEST_F(ResizeIoTest, GrowingALargeDiskAnnouncesAllOfItsDescriptors) {
  const auto report = ResizeLogged(MakeEmpty(1000 * kGiB), 1001 * kGiB);
  ASSERT_TRUE(IsOk(report));
  // 125 blocks of descriptors, the bitmap of each group that holds inode tables, one in 16, and what every growth
  // reads.
  EXPECT_LE(report->io.blocks_read, 125u + 500u + 8u);
  EXPECT_LE(report->io.prefetch_calls, 5u);
  ExpectAnnounced();
}

TEST_F(ResizeIoTest, ShrinkingAnnouncesTheInodesInUse) {
  const auto report = ResizeLogged(MakeFull(4 * kGiB, 5'000), 3 * kGiB);
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->checked);
  EXPECT_GT(report->check_io.blocks_read, 100u);
  // The inodes are most of what a shrink reads, and they were announced at once.
  EXPECT_GT(log_->CountOf(OperationKind::kPrefetch).distinct_blocks, 5'000 * 256 / 4096u);
}

TEST_F(ResizeIoTest, CheckAndReplayTellWhatTheyRead) {
  auto disk = MakeFull(256 * kMiB, 1'000);
  log_ = std::make_shared<LoggingDevice>(disk, 1 << 20);
  const auto check = Fsck(log_, {}, CallContext());
  ASSERT_TRUE(IsOk(check));
  EXPECT_TRUE(check->clean());
  EXPECT_GT(check->io.blocks_read, 60u);
  EXPECT_EQ(check->io.write_calls, 0u);
  EXPECT_GT(log_->CountOf(OperationKind::kPrefetch).distinct_blocks, 60u);

  ASSERT_TRUE(ToolSucceeds("echo new > '" + folder_.File("new") + "' && truncate -s 4096 '" + folder_.File("new") +
                           "' && printf 'jo\\njw -b 60000 " + folder_.File("new") + "\\njc\\n' > '" +
                           folder_.File("commands") + "' && debugfs -w -f '" + folder_.File("commands") + "' '" +
                           folder_.File("image") + "'"));
  log_->Reset();
  const auto replay = ReplayJournal(log_, 1'700'000'000, CallContext());
  ASSERT_TRUE(IsOk(replay));
  EXPECT_TRUE(replay->replayed);
  EXPECT_GT(replay->io.blocks_read, 3u);
  EXPECT_GT(replay->io.blocks_written, 1u);
  EXPECT_GT(log_->CountOf(OperationKind::kPrefetch).distinct_blocks, 100u);
}

}  // namespace
}  // namespace rootloom::testing
