// Ext4Tree on devices in memory: directories of every depth, devices that fail, random changes.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "native/block/faulty_device.h"
#include "native/block/memory_device.h"
#include "native/ext4/ext4_tree.h"
#include "native/ext4/fsck.h"
#include "native/ext4/mkfs.h"
#include "native/ext4/tree_acl.h"
#include "native/ext4/tree_inode.h"
#include "native/util/file_io.h"
#include "test/native/util/random.h"
#include "test/native/util/status_matchers.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {
namespace {

constexpr Timestamp kTime{1'700'000'000, 0};
const CallContext kContext;

std::shared_ptr<Device> NewImage(uint64_t size_bytes) {
  auto device = MemoryDevice::Create(size_bytes);
  EXPECT_TRUE(device.ok());
  const MkfsRequest request{.uuid = {1}, .hash_seed = {2}, .time = kTime.seconds};
  const auto made = MakeFilesystem(*device, request, kContext);
  EXPECT_TRUE(IsOk(made));
  return *device;
}

std::shared_ptr<Ext4Tree> OpenWritable(std::shared_ptr<Device> device) {
  auto tree = Ext4Tree::Open(std::move(device), {.writable = true, .time = kTime}, kContext);
  EXPECT_TRUE(IsOk(tree));
  return *tree;
}

void ExpectClean(std::shared_ptr<Device> device) {
  const auto report = Fsck(std::move(device), {.time = kTime.seconds}, kContext);
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->clean()) << report->output;
}

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

// From one block over one level of index to two.
class DirectoryOfSize : public ::testing::TestWithParam<size_t> {};

TEST_P(DirectoryOfSize, IsCleanAndKeepsEveryName) {
  const size_t count = GetParam();
  const auto device = NewImage(uint64_t{1} << 30);
  const std::string prefix = "/d/" + std::string(100, 'n');
  {
    const auto tree = OpenWritable(device);
    EXPECT_TRUE(IsOk(tree->MakeDirectory("/d", {}, false, kContext)));
    for (size_t i = 0; i < count; ++i) {
      // 65000 names are the most that one file can have.
      const std::string target = "/target" + std::to_string(i / 60'000);
      if (i % 60'000 == 0) {
        EXPECT_TRUE(IsOk(tree->WriteFile(target, {}, {}, kContext)));
      }
      EXPECT_TRUE(IsOk(tree->MakeHardLink(target, prefix + std::to_string(i), kContext)));
    }
    EXPECT_TRUE(IsOk(tree->Close(kContext)));
  }
  ExpectClean(device);
  const auto tree = OpenWritable(device);
  const auto files = tree->List("/d", kContext);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->size(), count);
  // Back to one block.
  for (size_t i = 10; i < count; ++i) EXPECT_TRUE(IsOk(tree->Remove(prefix + std::to_string(i), false, kContext)));
  EXPECT_TRUE(IsOk(tree->Close(kContext)));
  ExpectClean(device);
}

// 29 names of this length fill a block; 507 leaves fill the root of an index.
INSTANTIATE_TEST_SUITE_P(Tree, DirectoryOfSize, ::testing::Values(1, 33, 34, 35, 1000, 14'000, 16'500, 40'000));

TEST(Tree, FailsAsItsDeviceAndTakesNoMoreChanges) {
  const auto device = std::make_shared<FaultyDevice>(NewImage(64 << 20));
  const auto tree = OpenWritable(device);
  EXPECT_TRUE(IsOk(tree->WriteFile("/before", Bytes("x"), {}, kContext)));
  device->Arm({.kind = OperationKind::kWrite, .error_number = ENOSPC});
  const Status full = tree->WriteFile("/full", Bytes("x"), {}, kContext);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.failure().kind, StatusKind::kNoSpace);
  device->Disarm();
  EXPECT_TRUE(IsOk(tree->WriteFile("/after", Bytes("x"), {}, kContext)));

  device->Arm({.kind = OperationKind::kWrite, .error_number = EIO});
  const Status broken = tree->WriteFile("/broken", Bytes("x"), {}, kContext);
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.failure().kind, StatusKind::kIo);
  EXPECT_EQ(broken.failure().error_number, EIO);
  device->Disarm();
  const Status refused = tree->WriteFile("/refused", Bytes("x"), {}, kContext);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.failure().error_number, EIO);
  EXPECT_TRUE(IsOk(tree->Close(kContext)));
}

TEST(Tree, ReportsAFailedFlush) {
  const auto device = std::make_shared<FaultyDevice>(NewImage(64 << 20));
  const auto tree = OpenWritable(device);
  EXPECT_TRUE(IsOk(tree->MakeDirectory("/d", {}, false, kContext)));
  device->Arm({.kind = OperationKind::kFlush, .count = 1, .error_number = EIO});
  const Status failed = tree->Flush(kContext);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.failure().kind, StatusKind::kIo);
}

TEST(Tree, RandomChangesMatchAModelAndStayClean) {
  std::mt19937 random(Seed());
  const auto below = [&random](size_t end) { return std::uniform_int_distribution<size_t>(0, end - 1)(random); };
  const auto device = NewImage(64 << 20);
  std::map<std::string, std::string> model;  // path to content
  for (int session = 0; session < 4; ++session) {
    const auto tree = OpenWritable(device);
    for (int step = 0; step < 400; ++step) {
      const std::string directory = "/d" + std::to_string(below(5)) + "/e" + std::to_string(below(5));
      const std::string path = directory + "/" + std::string(1 + below(60), 'f') + std::to_string(below(30));
      switch (below(4)) {
        case 0:
        case 1: {
          std::string content(below(3) == 0 ? below(200'000) : below(5000), '\0');
          for (size_t i = 0; i < content.size(); i += 1 + below(9000)) content[i] = 'x';
          EXPECT_TRUE(IsOk(tree->MakeDirectory(directory, {}, true, kContext)));
          EXPECT_TRUE(IsOk(tree->WriteFile(path, Bytes(content), {.replace = below(2) == 0}, kContext)));
          model[path] = content;
          break;
        }
        case 2: {
          const bool removed = tree->Remove(path, false, kContext).ok();
          EXPECT_EQ(removed, model.erase(path) == 1);
          break;
        }
        default: {
          if (model.empty() || below(20) != 0) break;
          const std::string gone = directory.substr(0, 3);
          const bool removed = tree->Remove(gone, true, kContext).ok();
          const size_t erased =
              std::erase_if(model, [&](const auto& file) { return file.first.starts_with(gone + "/"); });
          EXPECT_TRUE(removed || erased == 0);
        }
      }
    }
    for (const auto& [path, content] : model) {
      const auto read = tree->ReadFile(path, 0, Ext4Tree::kMaxReadBytes, kContext);
      ASSERT_TRUE(read.ok()) << path;
      EXPECT_TRUE(std::ranges::equal(*read, Bytes(content))) << path;
    }
    EXPECT_TRUE(IsOk(tree->Close(kContext)));
    ExpectClean(device);
  }
}

TEST(Ext4Tree, IsAsItWasAfterAHostFileThatCannotBeRead) {
  const TempFolder folder;
  const auto device = NewImage(64 << 20);
  const auto tree = OpenWritable(device);
  UniqueFd fd = std::move(OpenFile(folder.path(), O_RDONLY).value());
  const Status of_folder = tree->CopyIn(fd.get(), folder.path(), "/a", {}, kContext);
  ASSERT_FALSE(of_folder.ok());
  EXPECT_EQ(of_folder.failure().kind, StatusKind::kInvalidArgument);
  EXPECT_EQ(of_folder.failure().error_number, EISDIR);
  EXPECT_EQ(of_folder.failure().path, folder.path());

  // A file whose descriptor was not opened for reading fails with an I/O error.
  const std::string path = folder.File("host");
  fd = std::move(OpenFile(path, O_WRONLY | O_CREAT).value());
  ASSERT_TRUE(IsOk(PwriteAll(fd.get(), Bytes("content"), 0, path)));
  const Status of_file = tree->CopyIn(fd.get(), path, "/a", {}, kContext);
  ASSERT_FALSE(of_file.ok());
  EXPECT_EQ(of_file.failure().kind, StatusKind::kIo);
  EXPECT_EQ(of_file.failure().error_number, EBADF);

  EXPECT_TRUE(IsOk(tree->WriteFile("/b", Bytes("b"), {}, kContext)));
  EXPECT_EQ(tree->Stat("/a", LastLink::kKeep, kContext).status().failure().kind, StatusKind::kNotFound);
  EXPECT_TRUE(IsOk(tree->Close(kContext)));
  ExpectClean(device);
}

// One zstd frame of zeros: run-length blocks of 128 KiB.
std::string ZstdOfZeros(uint64_t size_bytes) {
  constexpr uint64_t kRunBytes = 128 << 10;
  std::string frame("\x28\xb5\x2f\xfd\x00\x38", 6);
  for (uint64_t done = 0; done < size_bytes; done += kRunBytes) {
    const bool last = done + kRunBytes >= size_bytes;
    const uint32_t header = kRunBytes << 3 | 1 << 1 | (last ? 1 : 0);
    for (int shift = 0; shift < 24; shift += 8) frame.push_back(static_cast<char>(header >> shift));
    frame.push_back('\0');
  }
  return frame;
}

TEST(Ext4Tree, StopsInTheMiddleOfALayerThatUnpacksToNothingButBulk) {
  const TempFolder folder;
  const std::string path = folder.File("layer");
  UniqueFd fd = std::move(OpenFile(path, O_WRONLY | O_CREAT).value());
  // More than can be unpacked before the token is triggered.
  ASSERT_TRUE(IsOk(PwriteAll(fd.get(), Bytes(ZstdOfZeros(uint64_t{64} << 30)), 0, path)));
  const auto tree = OpenWritable(NewImage(64 << 20));
  std::stop_source stop;
  std::jthread stopper([stop]() mutable {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    stop.request_stop();
  });
  const auto report = tree->ApplyLayer(path, {}, {.stop = stop.get_token()});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().failure().kind, StatusKind::kCancelled);
}

TEST(InodeStore, ReadsTimesThatNoSecondHas) {
  const auto device = NewImage(64 << 20);
  auto filesystem = Filesystem::Open(device, {.writable = true}, kContext);
  ASSERT_TRUE(IsOk(filesystem));
  InodeStore inodes(**filesystem, TreeClock(kTime));
  auto root = inodes.Load(EXT2_ROOT_INO);
  ASSERT_TRUE(IsOk(root));
  root->raw.i_atime = UINT32_MAX;
  root->raw.i_atime_extra = 0xfffffffc;
  ASSERT_TRUE(IsOk(inodes.Save(*root)));
  root = inodes.Load(EXT2_ROOT_INO);
  ASSERT_TRUE(IsOk(root));
  EXPECT_EQ(inodes.StatOf(*root).atime, (Timestamp{-1, 999'999'999}));
}

TEST(Acl, GoesThroughBothFormsAndRefusesWhatIsNone) {
  const Acl acl({{AclTag::kOther, 1, 0},
                 {AclTag::kMask, 5, 0},
                 {AclTag::kUser, 7, 1000},
                 {AclTag::kOwner, 6, 0},
                 {AclTag::kGroup, 4, 70000},
                 {AclTag::kOwningGroup, 0, 0}});
  EXPECT_EQ(acl.Permissions(), 0651u);
  const auto from_linux = Acl::FromLinuxForm(acl.ToLinuxForm());
  ASSERT_TRUE(from_linux.ok());
  const auto from_disk = Acl::FromDiskForm(from_linux->ToDiskForm());
  ASSERT_TRUE(from_disk.ok());
  EXPECT_EQ(from_disk->ToLinuxForm(), acl.ToLinuxForm());
  const std::string whole = acl.ToLinuxForm();
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto cut = Acl::FromLinuxForm(whole.substr(0, length));
    EXPECT_FALSE(cut.ok()) << length;
  }
}

}  // namespace
}  // namespace rootloom::testing
