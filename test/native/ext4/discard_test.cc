// Discards: what e2fsprogs gives back reads as zeros, also where its blocks are smaller than the device's.
#include <gtest/gtest.h>

#include "native/ext4/filesystem.h"
#include "native/ext4/fsck.h"
#include "native/ext4/io_manager.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

constexpr size_t kSmallBlock = 1024;
constexpr uint64_t kDeviceBlock = 4096;

// A device full of ones.
std::shared_ptr<Device> FullDevice(uint64_t size_bytes) {
  auto device = MemoryDevice::Create(size_bytes, kDeviceBlock).value();
  const std::string ones(size_bytes, '\xff');
  EXPECT_TRUE(IsOk(device->Write(0, std::as_bytes(std::span(ones)))));
  return device;
}

std::string ContentOf(Device& device, Range range) {
  std::string content(range.length_bytes, '?');
  EXPECT_TRUE(IsOk(device.Read(range.offset_bytes, std::as_writable_bytes(std::span(content)))));
  return content;
}

TEST(DiscardTest, ReadsAsZerosWhereverTheDevicesBlocksEnd) {
  for (uint64_t first = 0; first < 16; ++first) {
    for (uint64_t count = 1; first + count <= 16; ++count) {
      const std::shared_ptr<Device> device = FullDevice(16 * kSmallBlock);
      DeviceIo io(device);
      io_channel channel = nullptr;
      ASSERT_EQ(DeviceIo::manager()->open(io.name(), IO_FLAG_RW, &channel), 0);
      ASSERT_NE(channel->flags & CHANNEL_FLAGS_DISCARD_ZEROES, 0);
      ASSERT_EQ(io_channel_set_blksize(channel, kSmallBlock), 0);
      EXPECT_EQ(io_channel_discard(channel, first, count), 0);
      EXPECT_EQ(io_channel_close(channel), 0);
      std::string expected(16 * kSmallBlock, '\xff');
      expected.replace(first * kSmallBlock, count * kSmallBlock, count * kSmallBlock, '\0');
      EXPECT_TRUE(ContentOf(*device, {0, 16 * kSmallBlock}) == expected) << count << " blocks from " << first;
    }
  }
}

TEST(DiscardTest, FreesTheWholeBlocksOfTheDevice) {
  const std::shared_ptr<Device> device = FullDevice(4 * kDeviceBlock);
  DeviceIo io(device);
  ASSERT_EQ(io.Trim({kSmallBlock, 3 * kDeviceBlock}), 0);
  const auto extents = device->Extents({0, 4 * kDeviceBlock});
  ASSERT_TRUE(IsOk(extents));
  ASSERT_EQ(extents->size(), 3u);
  EXPECT_EQ(extents->at(1).range, (Range{kDeviceBlock, 2 * kDeviceBlock}));
  EXPECT_NE(extents->at(1).kind, ExtentKind::kData);
}

TEST(DiscardTest, BeyondTheEndIsAnError) {
  DeviceIo io(FullDevice(4 * kDeviceBlock));
  EXPECT_EQ(io.Trim({3 * kDeviceBlock, 2 * kDeviceBlock}), EXT2_ET_SHORT_WRITE);
}

// Discards every run of free blocks. Gives back how many runs begin or end inside a block of the device.
void DiscardFreeBlocks(const std::shared_ptr<Device>& device, int* odd_runs) {
  auto filesystem = Filesystem::Open(device, {.writable = true}, CallContext());
  ASSERT_TRUE(IsOk(filesystem));
  ASSERT_TRUE(IsOk((*filesystem)->ReadBitmaps()));
  ext2_filsys fs = (*filesystem)->raw();
  ASSERT_EQ(fs->blocksize, kSmallBlock);
  const blk64_t end = ext2fs_blocks_count(fs->super);
  *odd_runs = 0;
  blk64_t first = 0;
  for (blk64_t next = fs->super->s_first_data_block;
       next < end && ext2fs_find_first_zero_block_bitmap2(fs->block_map, next, end - 1, &first) == 0;) {
    if (ext2fs_find_first_set_block_bitmap2(fs->block_map, first, end - 1, &next) != 0) next = end;
    *odd_runs += first % 4 != 0 || next % 4 != 0;
    ASSERT_EQ(io_channel_discard(fs->io, first, next - first), 0);
    const size_t size_bytes = (next - first) * kSmallBlock;
    EXPECT_TRUE(ContentOf(*device, {first * kSmallBlock, size_bytes}) == std::string(size_bytes, '\0')) << first;
  }
}

TEST(DiscardTest, OfAllFreeBlocksLeavesAFilesystemWithSmallBlocksWhole) {
  const TempFolder folder;
  const std::string path = folder.File("disk");
  MakeContent(folder.File("content"), 300);
  ASSERT_TRUE(ToolSucceeds("mke2fs -q -t ext4 -b 1024 -d '" + folder.File("content") + "' '" + path + "' 100m"));
  const std::string before = Fingerprint(path, folder.path());
  const std::shared_ptr<Device> file = OpenImage(path);
  const std::shared_ptr<Device> device = FullDevice(file->size_bytes());
  const auto copy = [size_bytes = file->size_bytes()](Device& from, Device& to) {
    const std::string content = ContentOf(from, {0, size_bytes});
    ASSERT_TRUE(IsOk(to.Write(0, std::as_bytes(std::span(content)))));
  };
  copy(*file, *device);
  int odd_runs = 0;
  DiscardFreeBlocks(device, &odd_runs);
  EXPECT_GT(odd_runs, 0);
  const auto report = Fsck(device, {}, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->clean()) << report->output;
  copy(*device, *file);
  EXPECT_TRUE(StockCheckIsClean(path));
  EXPECT_EQ(Fingerprint(path, folder.path()), before);
}

}  // namespace
}  // namespace rootloom::testing
