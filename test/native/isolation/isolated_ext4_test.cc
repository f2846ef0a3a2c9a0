// The engine in a helper does what it does in this process, to the byte.
#include <gtest/gtest.h>

#include "native/block/faulty_device.h"
#include "test/native/isolation/isolation_testing.h"

namespace rootloom::testing {
namespace {

constexpr int64_t kTime = 1'700'000'000;

class IsolatedExt4Test : public ::testing::Test {
 protected:
  std::shared_ptr<Device> Copy(const std::shared_ptr<Device>& device) { return ToMemory(ReadAll(*device)); }

  Isolation isolation_;
  const IsolationOptions options_ = isolation_.options();
  Scratch scratch_;
};

// A filesystem of stock mke2fs with files, in memory.
std::shared_ptr<Device> FullFilesystem(const TempFolder& folder, int file_count = 300) {
  MakeContent(folder.File("content"), file_count);
  const std::string image = folder.File("image");
  Extend((std::ofstream(image), image), 96 << 20);
  EXPECT_TRUE(ToolSucceeds("mke2fs -q -F -t ext4 -d '" + folder.File("content") + "' '" + image + "'"));
  return ToMemory(ReadAll(*OpenImage(image)));
}

TEST_F(IsolatedExt4Test, ReadStatsGivesTheSame) {
  const auto device = SomeFilesystem(64 << 20, 64 << 20);
  const auto here = ReadStats(device, CallContext());
  const auto there = isolated::ReadStats(device, options_, CallContext());
  ASSERT_TRUE(IsOk(here));
  ASSERT_TRUE(IsOk(there));
  EXPECT_EQ(there->size_bytes, here->size_bytes);
  EXPECT_EQ(there->block_size, here->block_size);
  EXPECT_EQ(there->free_bytes, here->free_bytes);
  EXPECT_EQ(there->reserved_bytes, here->reserved_bytes);
  EXPECT_EQ(there->used_bytes, here->used_bytes);
  EXPECT_EQ(there->inode_count, here->inode_count);
  EXPECT_EQ(there->free_inode_count, here->free_inode_count);
  EXPECT_EQ(there->max_grown_bytes, here->max_grown_bytes);
  EXPECT_EQ(there->uuid, here->uuid);
  EXPECT_EQ(there->label, here->label);
  EXPECT_EQ(there->features, here->features);
  EXPECT_TRUE(there->clean);
  EXPECT_EQ(there->created_time, here->created_time);
  EXPECT_EQ(there->written_time, here->written_time);
}

TEST_F(IsolatedExt4Test, ResizeMakesTheSameBytes) {
  for (const uint64_t size_bytes : {uint64_t{300} << 20, uint64_t{24} << 20}) {
    const auto here = SomeFilesystem(64 << 20, 512 << 20);
    const auto there = SomeFilesystem(64 << 20, 512 << 20);
    const ResizeRequest request{.size_bytes = size_bytes, .time = kTime};
    const auto report_here = Resize(here, request, scratch_.factory(), CallContext());
    const auto report_there = isolated::Resize(there, request, options_, CallContext());
    ASSERT_TRUE(IsOk(report_here));
    ASSERT_TRUE(IsOk(report_there));
    EXPECT_EQ(report_there->new_size_bytes, report_here->new_size_bytes);
    EXPECT_EQ(report_there->io.blocks_written, report_here->io.blocks_written);
    EXPECT_EQ(report_there->checked, report_here->checked);
    EXPECT_TRUE(ReadAll(*here) == ReadAll(*there)) << size_bytes;
  }
}

TEST_F(IsolatedExt4Test, ResizeSaysWhatWouldDo) {
  const TempFolder folder;
  const auto device = FullFilesystem(folder);
  const std::string before = ReadAll(*device);
  const auto report = isolated::Resize(device, {.size_bytes = 4 << 20, .time = std::nullopt}, options_, CallContext());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().failure().kind, StatusKind::kTooSmall);
  const auto minimum = isolated::MinimumSize(device, options_, CallContext());
  ASSERT_TRUE(IsOk(minimum));
  EXPECT_EQ(report.status().failure().minimum_bytes, minimum.value());
  EXPECT_TRUE(ReadAll(*device) == before);
  EXPECT_TRUE(IsOk(isolated::Resize(device, {.size_bytes = *minimum, .time = std::nullopt}, options_, CallContext())));
}

TEST_F(IsolatedExt4Test, RebuildMakesTheSameBytes) {
  const TempFolder folder;
  const auto source = FullFilesystem(folder);
  const std::string before = ReadAll(*source);
  for (const uint64_t size_bytes : {uint64_t{64} << 20, uint64_t{300} << 20}) {
    const auto here = MakeMemoryDevice(size_bytes).value();
    const auto there = MakeMemoryDevice(size_bytes).value();
    const RebuildRequest request{.time = kTime};
    const auto report_here = Rebuild(source, here, request, MakeMemoryDevice, CallContext());
    const auto report_there = isolated::Rebuild(source, there, request, options_, CallContext());
    ASSERT_TRUE(IsOk(report_here));
    ASSERT_TRUE(IsOk(report_there));
    EXPECT_GT(report_there->runs.size(), 1u);
    EXPECT_EQ(report_there->runs, report_here->runs);
    EXPECT_EQ(report_there->size_bytes, report_here->size_bytes);
    EXPECT_EQ(report_there->file_count, report_here->file_count);
    EXPECT_EQ(report_there->content_bytes, report_here->content_bytes);
    EXPECT_EQ(report_there->metadata_bytes, report_here->metadata_bytes);
    EXPECT_EQ(report_there->io.blocks_read, report_here->io.blocks_read);
    EXPECT_EQ(report_there->io.blocks_written, report_here->io.blocks_written);
    EXPECT_TRUE(ReadAll(*here) == ReadAll(*there)) << size_bytes;
  }
  EXPECT_TRUE(ReadAll(*source) == before);
}

TEST_F(IsolatedExt4Test, RebuildSaysWhatWouldDo) {
  const TempFolder folder;
  const auto source = FullFilesystem(folder, 1500);
  const auto least = isolated::RebuiltSize(source, 0, options_, CallContext());
  ASSERT_TRUE(IsOk(least));
  EXPECT_EQ(least.value(), RebuiltSize(source, 0, MakeMemoryDevice, CallContext()).value());
  const auto refused =
      isolated::Rebuild(source, MakeMemoryDevice(16 << 20).value(), {.time = kTime}, options_, CallContext());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().failure().kind, StatusKind::kTooSmall);
  EXPECT_EQ(refused.status().failure().minimum_bytes, least.value());
  EXPECT_TRUE(
      IsOk(isolated::Rebuild(source, MakeMemoryDevice(*least).value(), {.time = kTime}, options_, CallContext())));
}

TEST_F(IsolatedExt4Test, RebuildReportsWhatEachOfItsDevicesFailedWith) {
  const TempFolder folder;
  const auto source = std::make_shared<FaultyDevice>(FullFilesystem(folder));
  const auto target = std::make_shared<FaultyDevice>(MakeMemoryDevice(64 << 20).value());
  target->Arm({.kind = OperationKind::kWrite, .error_number = EDQUOT});
  const auto full = isolated::Rebuild(source, target, {.time = kTime}, options_, CallContext());
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.status().failure().error_number, EDQUOT);
  source->Arm({.kind = OperationKind::kRead, .error_number = ENODATA});
  const auto unreadable =
      isolated::Rebuild(source, MakeMemoryDevice(64 << 20).value(), {.time = kTime}, options_, CallContext());
  ASSERT_FALSE(unreadable.ok());
  EXPECT_EQ(unreadable.status().failure().error_number, ENODATA);
}

TEST_F(IsolatedExt4Test, FsckRepairsTheSame) {
  const TempFolder folder;
  const auto here = FullFilesystem(folder);
  const std::string wrong(512, '\x5a');
  // A part of the inode table, behind the first group's bitmaps.
  ASSERT_TRUE(IsOk(here->Write(1 << 20, std::as_bytes(std::span(wrong)))));
  const auto there = Copy(here);
  const auto found = isolated::Fsck(there, {.repair = false, .time = kTime}, options_, CallContext());
  ASSERT_TRUE(IsOk(found));
  EXPECT_TRUE(ReadAll(*here) == ReadAll(*there)) << "a check writes nothing";
  const auto report_here = Fsck(here, {.repair = true, .time = kTime}, CallContext());
  const auto report_there = isolated::Fsck(there, {.repair = true, .time = kTime}, options_, CallContext());
  ASSERT_TRUE(IsOk(report_here));
  ASSERT_TRUE(IsOk(report_there));
  EXPECT_FALSE(report_there->clean());
  EXPECT_EQ(report_there->exit_bits, report_here->exit_bits);
  EXPECT_EQ(report_there->output, report_here->output);
  EXPECT_EQ(report_there->problem_count, report_here->problem_count);
  EXPECT_TRUE(ReadAll(*here) == ReadAll(*there));
}

TEST_F(IsolatedExt4Test, ReportsWhatTheDeviceFailedWith) {
  const auto faulty = std::make_shared<FaultyDevice>(SomeFilesystem(64 << 20, 64 << 20));
  faulty->Arm({.kind = OperationKind::kRead, .error_number = ENODATA});
  const auto stats = isolated::ReadStats(faulty, options_, CallContext());
  ASSERT_FALSE(stats.ok());
  EXPECT_EQ(stats.status().failure().kind, StatusKind::kIo);
  EXPECT_EQ(stats.status().failure().error_number, ENODATA);
}

TEST_F(IsolatedExt4Test, RefusesToChangeWhatIsNotWritable) {
  const TempFolder folder;
  const std::string image = folder.File("image");
  { CreateFile(image, 16 << 20); }
  const auto device = FileDevice::Open(image, {.writable = false});
  ASSERT_TRUE(IsOk(device));
  const auto report = isolated::Fsck(device.value(), {.repair = true, .time = kTime}, options_, CallContext());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().failure().error_number, EROFS);
}

}  // namespace
}  // namespace rootloom::testing
