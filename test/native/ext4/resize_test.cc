#include "native/ext4/resize.h"

#include <gtest/gtest.h>

#include <thread>

#include "native/block/faulty_device.h"
#include "native/ext4/fsck.h"
#include "native/ext4/stats.h"
#include "test/native/ext4/ext4_testing.h"
#include "test/native/util/random.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

class ResizeTest : public ::testing::Test {
 protected:
  // A disk with our own profile and nothing in it.
  void MakeEmpty(uint64_t size_bytes) {
    ASSERT_TRUE(IsOk(MakeFilesystem(CreateFile(path_, size_bytes), SomeMkfsRequest(), CallContext())));
  }

  // A disk made and filled by the stock tool.
  void MakeFull(uint64_t size_bytes, int file_count, const std::string& options = "") {
    MakeContent(folder_.File("content"), file_count);
    ASSERT_TRUE(ToolSucceeds("mke2fs -q -t ext4 " + options + " -d '" + folder_.File("content") + "' '" + path_ + "' " +
                             std::to_string(size_bytes / 1024) + "k"));
  }

  Result<ResizeReport> ResizeTo(uint64_t size_bytes) {
    if (size_bytes > std::filesystem::file_size(path_)) Extend(path_, size_bytes);
    auto report =
        Resize(OpenImage(path_), {.size_bytes = size_bytes, .time = 1'700'000'000}, scratch_.factory(), CallContext());
    if (report.ok()) std::filesystem::resize_file(path_, size_bytes);
    return report;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("disk");
  Scratch scratch_;
};

TEST_F(ResizeTest, GrowsAHundredfoldAndShrinksBack) {
  MakeEmpty(kGiB);
  for (const uint64_t size : {4 * kGiB, 100 * kGiB, 1000 * kGiB, 100 * kGiB, kGiB}) {
    const auto report = ResizeTo(size);
    ASSERT_TRUE(IsOk(report)) << size;
    EXPECT_EQ(report->new_size_bytes, size);
    EXPECT_TRUE(StockCheckIsClean(path_)) << size;
    EXPECT_TRUE(ReadStats(OpenImage(path_), CallContext())->clean);
  }
}

TEST_F(ResizeTest, GrowingTouchesMetadataOnly) {
  MakeFull(kGiB, 500);
  const auto report = ResizeTo(4 * kGiB);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->old_size_bytes, kGiB);
  EXPECT_FALSE(report->checked);
  EXPECT_LT(report->io.blocks_read, 64u);
  EXPECT_LT(report->io.written_bytes, 2 * kMiB);
  EXPECT_LE(report->io.blocks_written * 4096, 2 * kMiB);
}

TEST_F(ResizeTest, GivesEqualBytesForEqualRequests) {
  MakeFull(256 * kMiB, 200);
  const std::string copy = folder_.File("copy");
  std::filesystem::copy_file(path_, copy);
  std::string digests[2];
  for (int i = 0; i < 2; ++i) {
    if (i == 1) std::filesystem::rename(copy, path_);
    ASSERT_TRUE(IsOk(ResizeTo(kGiB)));
    ASSERT_TRUE(IsOk(ResizeTo(200 * kMiB)));
    digests[i] = RunTool("sha256sum < '" + path_ + "'").output;
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(ResizeTest, StampsTheLastTimeOfTheFilesystemUnlessTold) {
  ASSERT_TRUE(ToolSucceeds("E2FSPROGS_FAKE_TIME=1600000000 mke2fs -q -t ext4 '" + path_ + "' 64M"));
  Extend(path_, 80 * kMiB);
  for (const uint64_t size : {80 * kMiB, 50 * kMiB}) {
    const auto report = Resize(OpenImage(path_), {.size_bytes = size}, scratch_.factory(), CallContext());
    ASSERT_TRUE(IsOk(report));
    EXPECT_EQ(report->after.written_time, 1'600'000'000);
  }
}

TEST_F(ResizeTest, KeepsEveryFileThroughRandomSizes) {
  Random random(1);
  MakeFull(512 * kMiB, 2000);
  const std::string before = Fingerprint(path_, folder_.path());
  for (int step = 0; step < 12; ++step) {
    const auto minimum = MinimumSize(OpenImage(path_), scratch_.factory(), CallContext());
    ASSERT_TRUE(IsOk(minimum));
    // Between the minimum and 8 GiB, small sizes as likely as large ones; any number of bytes.
    const uint64_t span = uint64_t{1} << (20 + random.Below(14));
    const uint64_t size = std::max(minimum.value(), std::min(minimum.value() + random.Below(span), 8 * kGiB));
    const auto report = ResizeTo(size);
    ASSERT_TRUE(IsOk(report)) << "to " << size << " in step " << step;
    EXPECT_LE(report->new_size_bytes, size);
    EXPECT_GT(report->new_size_bytes + 128 * kMiB, size);
    ASSERT_TRUE(StockCheckIsClean(path_)) << "after " << size << " in step " << step;
  }
  EXPECT_EQ(Fingerprint(path_, folder_.path()), before);
}

class StockProfile : public ResizeTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(StockProfile, OfMke2fsGrowsAndShrinks) {
  MakeFull(200 * kMiB, 300, GetParam());
  const std::string before = Fingerprint(path_, folder_.path());
  for (const uint64_t size : {700 * kMiB, 3 * kGiB, 150 * kMiB, 201 * kMiB}) {
    const auto report = ResizeTo(size);
    ASSERT_TRUE(IsOk(report)) << size;
    ASSERT_TRUE(StockCheckIsClean(path_)) << size;
  }
  EXPECT_EQ(Fingerprint(path_, folder_.path()), before);
}

INSTANTIATE_TEST_SUITE_P(Resize, StockProfile,
                         ::testing::Values("", "-b 1024", "-b 2048 -O ^flex_bg", "-O ^64bit", "-O ^resize_inode",
                                           "-O meta_bg,^resize_inode", "-O ^metadata_csum", "-O ^has_journal",
                                           "-I 128 -O ^extent,^64bit", "-i 4096 -m 5", "-O sparse_super2",
                                           "-E packed_meta_blocks=1", "-O inline_data", "-O ea_inode,large_dir"));

TEST_F(ResizeTest, ShrinksToExactlyTheReportedMinimumAndNotBelow) {
  MakeFull(kGiB, 3000);
  const auto minimum = MinimumSize(OpenImage(path_), scratch_.factory(), CallContext());
  ASSERT_TRUE(IsOk(minimum));
  const Status refused = ResizeTo(20 * kMiB).status();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.failure().kind, StatusKind::kTooSmall);
  EXPECT_EQ(refused.failure().minimum_bytes, minimum.value());
  EXPECT_TRUE(StockCheckIsClean(path_)) << "a refused resize must not change anything";

  const auto report = ResizeTo(minimum.value());
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->checked);
  EXPECT_TRUE(StockCheckIsClean(path_));
}

class MinimalDisk : public ResizeTest {
 protected:
  void ExpectToStay() {
    // What resize2fs estimates depends on the size that there is: it is asked until that helps no more.
    std::optional<ResizeReport> last;
    for (int step = 0; step < 20 && (!last || last->new_size_bytes < last->old_size_bytes); ++step) {
      const auto report = Resize(OpenImage(path_), {.time = step}, scratch_.factory(), CallContext());
      ASSERT_TRUE(IsOk(report)) << "in step " << step;
      std::filesystem::resize_file(path_, report->new_size_bytes);
      last = report.value();
    }
    EXPECT_EQ(last->new_size_bytes, last->old_size_bytes);
    EXPECT_EQ(last->io.write_calls, 0u);
    EXPECT_TRUE(StockCheckIsClean(path_));
    const Status refused = ResizeTo(last->new_size_bytes - 4096).status();
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.failure().kind, StatusKind::kTooSmall) << refused.failure().Message();
    EXPECT_EQ(refused.failure().minimum_bytes, last->new_size_bytes);
  }
};

// Here resize2fs' estimate is less than what there is, though that is the minimum: the rehearsal runs out of blocks.
TEST_F(MinimalDisk, OfOursStaysAsItIs) {
  MakeEmpty(130 * kMiB);
  std::ofstream(folder_.File("file")) << std::string(3 * kMiB, 'x');
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(ToolSucceeds("debugfs -w -R 'write " + folder_.File("file") + " file-" + std::to_string(i) + "' '" +
                             path_ + "'"));
  }
  ExpectToStay();
}

class StockMinimalDisk : public MinimalDisk, public ::testing::WithParamInterface<const char*> {};

TEST_P(StockMinimalDisk, StaysAsItIs) {
  MakeFull(100 * kMiB, 500, GetParam());
  ExpectToStay();
}

INSTANTIATE_TEST_SUITE_P(Resize, StockMinimalDisk,
                         ::testing::Values("-b 4096", "-b 1024", "-b 2048 -O ^flex_bg", "-O ^has_journal -m 0"));

TEST_F(ResizeTest, CountsWhatAMovingBackupOfTheSuperblockLeaves) {
  MakeFull(256 * kMiB, 10, "-b 4096 -O sparse_super2");
  ASSERT_TRUE(IsOk(ResizeTo(2 * kGiB)));
  EXPECT_TRUE(StockCheckIsClean(path_));
}

// The filesystem's own files may be where a shrink would take their inodes away, and have no fixed number.
TEST_F(ResizeTest, KeepsTheInodesOfQuotaAndOrphanFiles) {
  MakeFull(64 * kMiB, 600, "-b 1024 -N 1024 -O ^orphan_file");
  std::ofstream commands(folder_.File("commands"));
  commands << "cd many\n";
  for (int i = 0; i < 600; ++i) commands << "rm \"file " << i << "\"\n";
  commands.close();
  ASSERT_TRUE(ToolSucceeds("tune2fs -O orphan_file,project,quota '" + path_ + "' && debugfs -w -f '" +
                           folder_.File("commands") + "' '" + path_ + "'"));
  for (int i = 0; i < 2; ++i) RunTool("e2fsck -fy '" + path_ + "'");
  ASSERT_TRUE(StockCheckIsClean(path_));
  const auto minimum = MinimumSize(OpenImage(path_), scratch_.factory(), CallContext());
  ASSERT_TRUE(IsOk(minimum));
  EXPECT_LT(minimum.value(), 64 * kMiB);
  const Status refused = ResizeTo(24 * kMiB).status();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.failure().kind, StatusKind::kTooSmall) << refused.failure().Message();
  EXPECT_EQ(refused.failure().minimum_bytes, minimum.value());
  ASSERT_TRUE(IsOk(ResizeTo(minimum.value())));
  EXPECT_TRUE(StockCheckIsClean(path_));
}

TEST_F(ResizeTest, DoesNothingForTheSameSize) {
  MakeEmpty(64 * kMiB);
  const std::string before = RunTool("sha256sum < '" + path_ + "'").output;
  const auto report = ResizeTo(64 * kMiB);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->io.write_calls, 0u);
  EXPECT_EQ(RunTool("sha256sum < '" + path_ + "'").output, before);
}

TEST_F(ResizeTest, GrowthOverAThousandfoldIsRightOrRefused) {
  MakeEmpty(64 * kMiB);
  const auto report = ResizeTo(128 * kGiB);
  if (report.ok()) {
    EXPECT_TRUE(StockCheckIsClean(path_));
  } else {
    EXPECT_NE(report.status().failure().kind, StatusKind::kIo) << report.status().failure().Message();
  }
}

TEST_F(ResizeTest, RefusesWhatIsNotReady) {
  const std::vector<std::pair<std::string, StatusKind>> cases = {
      {"feature needs_recovery", StatusKind::kUnsupported},
      {"ssv last_orphan 12", StatusKind::kUnsupported},
      {"ssv state 0", StatusKind::kCorrupt},
      {"ssv state 3", StatusKind::kCorrupt},
      {"feature stable_inodes", StatusKind::kUnsupported},
  };
  for (const auto& [command, kind] : cases) {
    std::filesystem::remove(path_);
    MakeEmpty(128 * kMiB);
    ASSERT_TRUE(ToolSucceeds("debugfs -w -R '" + command + "' '" + path_ + "'"));
    const std::string before = RunTool("sha256sum < '" + path_ + "'").output;
    const Status status = ResizeTo(64 * kMiB).status();
    ASSERT_FALSE(status.ok()) << command;
    EXPECT_EQ(status.failure().kind, kind) << command << ": " << status.failure().Message();
    EXPECT_EQ(RunTool("sha256sum < '" + path_ + "'").output, before) << command;
  }
  std::filesystem::remove(path_);
  ASSERT_TRUE(ToolSucceeds("mke2fs -q -t ext4 -O bigalloc '" + path_ + "' 256M"));
  EXPECT_EQ(ResizeTo(512 * kMiB).status().failure().kind, StatusKind::kUnsupported);
}

TEST_F(ResizeTest, RefusesASizeThatTheDeviceDoesNotHave) {
  MakeEmpty(64 * kMiB);
  const Status status = Resize(OpenImage(path_), {.size_bytes = 65 * kMiB}, scratch_.factory(), CallContext()).status();
  EXPECT_EQ(status.failure().kind, StatusKind::kInvalidArgument);
}

TEST_F(ResizeTest, ReportsTheDevicesFailureAtAnyOperation) {
  MakeFull(200 * kMiB, 300);
  Extend(path_, kGiB);
  const std::shared_ptr<Device> base = OpenImage(path_);
  int failures = 0;
  for (const OperationKind kind : {OperationKind::kRead, OperationKind::kWrite}) {
    for (const uint64_t target : {kGiB, 100 * kMiB}) {
      for (uint64_t skip = 0; skip < 400; skip = skip * 3 / 2 + 1) {
        auto overlay = scratch_.factory()(base);
        ASSERT_TRUE(IsOk(overlay));
        auto faulty = std::make_shared<FaultyDevice>(overlay.value());
        faulty->Arm({.kind = kind, .skip = skip, .count = 1, .error_number = EIO});
        const auto report = Resize(faulty, {.size_bytes = target}, scratch_.factory(), CallContext());
        if (faulty->hit_count() == 0) continue;
        ASSERT_FALSE(report.ok()) << "an error was swallowed: operation " << skip << " to " << target;
        EXPECT_EQ(report.status().failure().error_number, EIO) << report.status().failure().Message();
        EXPECT_TRUE(report.status().failure().offset_bytes.has_value());
        ++failures;
      }
    }
  }
  EXPECT_GT(failures, 20);
}

TEST_F(ResizeTest, CanBeCancelledAtAnyMoment) {
  MakeFull(400 * kMiB, 1000);
  const std::shared_ptr<Device> base = OpenImage(path_);
  for (int reports = 0; reports < 8; ++reports) {
    auto overlay = scratch_.factory()(base);
    ASSERT_TRUE(IsOk(overlay));
    std::stop_source stop;
    CallContext context;
    context.stop = stop.get_token();
    int seen = 0;
    context.report = [&](const Progress&) {
      if (seen++ == reports) stop.request_stop();
    };
    const auto report = Resize(overlay.value(), {.size_bytes = 60 * kMiB}, scratch_.factory(), context);
    if (seen <= reports) continue;
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.status().failure().kind, StatusKind::kCancelled);
  }
}

TEST_F(ResizeTest, ManyThreadsAtOnceDoNotDisturbEachOther) {
  MakeFull(200 * kMiB, 500);
  Extend(path_, 2 * kGiB);
  const std::shared_ptr<Device> base = OpenImage(path_);
  std::vector<std::thread> threads;
  std::vector<Status> results(8);
  const ScratchFactory factory = [this, mutex = std::make_shared<std::mutex>()](std::shared_ptr<Device> device) {
    std::lock_guard lock(*mutex);
    return scratch_.factory()(std::move(device));
  };
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] {
      results[i] = [&]() -> Status {
        ROOTLOOM_ASSIGN_OR_RETURN(auto overlay, factory(base));
        const uint64_t grown = kGiB + i * 64 * kMiB;
        ROOTLOOM_ASSIGN_OR_RETURN(const auto up, Resize(overlay, {.size_bytes = grown}, factory, CallContext()));
        if (up.new_size_bytes != grown) return Status::Corrupt("grow", std::to_string(up.new_size_bytes));
        ROOTLOOM_RETURN_IF_ERROR(
            Resize(overlay, {.size_bytes = 150 * kMiB + i * kMiB}, factory, CallContext()).status());
        ROOTLOOM_ASSIGN_OR_RETURN(const auto report, Fsck(overlay, {}, CallContext()));
        return report.clean() ? Status::Ok() : Status::Corrupt("check", report.output);
      }();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : results) EXPECT_TRUE(IsOk(status));
}

}  // namespace
}  // namespace rootloom::testing
