#include "native/block/file_device.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "test/native/block/device_testing.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {
namespace {

TEST(FileDeviceTest, CreatesASparseFileOnce) {
  TempFolder folder;
  const FileDeviceOptions create{.writable = true, .create_size_bytes = uint64_t{10} << 30};
  auto device = FileDevice::Open(folder.File("disk"), create);
  ASSERT_TRUE(IsOk(device));
  EXPECT_EQ(device.value()->size_bytes(), uint64_t{10} << 30);
  struct stat info;
  ASSERT_EQ(::stat(folder.File("disk").c_str(), &info), 0);
  EXPECT_EQ(info.st_blocks, 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_TRUE(FailedWith(FileDevice::Open(folder.File("disk"), create), EEXIST));
}

TEST(FileDeviceTest, LeavesNothingWhenTheSizeIsImpossible) {
  TempFolder folder;
  const FileDeviceOptions create{.writable = true, .create_size_bytes = UINT64_MAX};
  EXPECT_TRUE(FailedWith(FileDevice::Open(folder.File("disk"), create), EFBIG));
  EXPECT_FALSE(std::filesystem::exists(folder.File("disk")));
}

TEST(FileDeviceTest, RefusesWhatIsNotADiskImage) {
  TempFolder folder;
  const auto missing = FileDevice::Open(folder.File("missing"));
  ASSERT_TRUE(FailedWith(missing, ENOENT));
  EXPECT_EQ(missing.status().failure().kind, StatusKind::kNotFound);
  EXPECT_EQ(missing.status().failure().path, folder.File("missing"));
  ASSERT_EQ(::mkfifo(folder.File("fifo").c_str(), 0600), 0);
  for (const std::string& path : {folder.path(), folder.File("fifo")}) {
    const auto refused = FileDevice::Open(path);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().failure().kind, StatusKind::kUnsupported);
  }
}

TEST(FileDeviceTest, AFileThatWasCutIsAnError) {
  TempFolder folder;
  auto device = FileDevice::Open(folder.File("disk"), {.writable = true, .create_size_bytes = 8192}).value();
  std::filesystem::resize_file(folder.File("disk"), 5000);
  Bytes bytes(4096);
  EXPECT_TRUE(IsOk(device->Read(0, bytes)));
  EXPECT_TRUE(FailedWith(device->Read(4096, bytes), EIO));
}

TEST(FileDeviceTest, WritesZerosWhereNoHoleCanBePunched) {
  const MountedFolder folder("ramfs", "");
  const uint64_t size = (3 << 20) + 1000;
  auto device = FileDevice::Open(folder.File("disk"), {.writable = true, .create_size_bytes = size}).value();
  Bytes expected = Random(1).Bytes(size);
  ASSERT_TRUE(IsOk(device->Write(0, expected)));
  ASSERT_TRUE(IsOk(device->Zero({5000, size - 5000})));
  std::fill(expected.begin() + 5000, expected.end(), std::byte{0});
  EXPECT_TRUE(SameBytes(ReadAll(*device), expected));
  EXPECT_EQ(std::filesystem::file_size(folder.File("disk")), size);
  ASSERT_TRUE(IsOk(device->Trim({1, 8191})));
  std::fill(expected.begin() + 4096, expected.begin() + 8192, std::byte{0});
  EXPECT_TRUE(SameBytes(ReadAll(*device), expected));
}

TEST(FileDeviceTest, WritesReachTheFile) {
  TempFolder folder;
  auto device = FileDevice::Open(folder.File("disk"), {.writable = true, .create_size_bytes = 8192}).value();
  ASSERT_TRUE(IsOk(device->Write(100, Bytes(3, std::byte{'x'}), Durability::kDurable)));
  std::ifstream file(folder.File("disk"), std::ios::binary);
  file.seekg(99);
  char around[5];
  file.read(around, 5);
  EXPECT_EQ(std::string(around, 5), std::string("\0xxx\0", 5));
}

}  // namespace
}  // namespace rootloom::testing
