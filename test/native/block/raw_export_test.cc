#include "native/block/raw_export.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "native/block/faulty_device.h"
#include "native/block/file_device.h"
#include "native/block/logging_device.h"
#include "native/block/memory_device.h"
#include "test/native/block/device_testing.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kSize = (uint64_t{256} << 20) + 1000;

// Data at both ends, in the middle of a window, and over the border of two; and a stored block of zeros.
std::shared_ptr<Device> MakeDisk() {
  auto disk = MemoryDevice::Create(kSize).value();
  Random random(1);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{70} << 20, (uint64_t{128} << 20) - 5000, kSize - 9000}) {
    EXPECT_TRUE(IsOk(disk->Write(offset, random.Bytes(9000))));
  }
  EXPECT_TRUE(IsOk(disk->Write(uint64_t{200} << 20, Bytes(kBlock))));
  return disk;
}

TEST(RawExportTest, CopiesEveryByteAndKeepsHoles) {
  TempFolder folder;
  auto logging = std::make_shared<LoggingDevice>(MakeDisk());
  uint64_t last_done = 0;
  CallContext context;
  context.report = [&](const Progress& progress) {
    EXPECT_EQ(progress.total, kSize);
    EXPECT_GE(progress.done, last_done);
    last_done = progress.done;
  };
  const auto result = ExportRaw(*logging, folder.File("disk.raw"), context);
  ASSERT_TRUE(IsOk(result));
  EXPECT_EQ(last_done, kSize);
  EXPECT_EQ(result.value().size_bytes, kSize);
  EXPECT_LE(logging->CountOf(OperationKind::kRead).bytes, 20 * kBlock);
  auto file = FileDevice::Open(folder.File("disk.raw")).value();
  EXPECT_TRUE(SameBytes(ReadAll(*file), ReadAll(*logging)));
  struct stat info;
  ASSERT_EQ(::stat(folder.File("disk.raw").c_str(), &info), 0);
  EXPECT_LE(static_cast<uint64_t>(info.st_blocks) * 512, 20 * kBlock);
  const auto zeros = file->Extents({uint64_t{200} << 20, kBlock});
  EXPECT_EQ(zeros.value()[0].kind, ExtentKind::kHole);
}

TEST(RawExportTest, ReplacesAFileOnlyWhenItSucceeds) {
  TempFolder folder;
  std::ofstream(folder.File("disk.raw")) << "old";
  auto faulty = std::make_shared<FaultyDevice>(MakeDisk());
  faulty->Arm({.kind = OperationKind::kRead, .skip = 2, .error_number = EIO});
  EXPECT_TRUE(FailedWith(ExportRaw(*faulty, folder.File("disk.raw"), {}), EIO));
  EXPECT_EQ(std::filesystem::file_size(folder.File("disk.raw")), 3u);
  faulty->Disarm();
  EXPECT_TRUE(IsOk(ExportRaw(*faulty, folder.File("disk.raw"), {})));
  EXPECT_EQ(std::filesystem::file_size(folder.File("disk.raw")), kSize);
}

TEST(RawExportTest, LeavesNothingWhenStopped) {
  TempFolder folder;
  std::stop_source stop;
  CallContext context{stop.get_token(), [&](const Progress&) { stop.request_stop(); }};
  const auto result = ExportRaw(*MakeDisk(), folder.File("disk.raw"), context);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().failure().kind, StatusKind::kCancelled);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(RawExportTest, LeavesNothingWhenTheFolderIsMissing) {
  TempFolder folder;
  EXPECT_TRUE(FailedWith(ExportRaw(*MakeDisk(), folder.File("no/disk.raw"), {}), ENOENT));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace rootloom::testing
