#include "native/ext4/mkfs.h"

#include <gtest/gtest.h>

#include "native/block/faulty_device.h"
#include "native/ext4/fsck.h"
#include "native/ext4/stats.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

class MkfsSize : public ::testing::TestWithParam<uint64_t> {};

TEST_P(MkfsSize, IsCleanAndSparse) {
  const TempFolder folder;
  const std::string path = folder.File("disk");
  const auto device = CreateFile(path, GetParam());
  const auto size = MakeFilesystem(device, SomeMkfsRequest(), CallContext());
  ASSERT_TRUE(IsOk(size));
  EXPECT_LE(size.value(), GetParam());
  EXPECT_GT(size.value() + 128 * kMiB, GetParam());
  EXPECT_TRUE(StockCheckIsClean(path));

  const auto report = Fsck(device, {}, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->exit_bits, 0) << report->output;
  // The reserved group descriptors are the largest part: 2 MiB for 4 GiB, 4 MiB at the most.
  EXPECT_TRUE(ToolSucceeds("test $(du -k '" + path + "' | cut -f1) -lt 6000"));
}

INSTANTIATE_TEST_SUITE_P(Mkfs, MkfsSize,
                         ::testing::Values(16 * kMiB, 17 * kMiB + 4096, 64 * kMiB, 100 * kMiB, 127 * kMiB, 129 * kMiB,
                                           kGiB, kGiB + 5000 * 4096, 4 * kGiB, 16 * kGiB, 100 * kGiB));

std::string Digest(const std::string& path) { return RunTool("sha256sum < '" + path + "'").output; }

TEST(MakeFilesystem, GivesEqualBytesForEqualRequests) {
  const TempFolder folder;
  for (const char* name : {"one", "two"}) {
    const std::string path = folder.File(name);
    auto device = CreateFile(path, 256 * kMiB);
    // The second disk has a past.
    if (name == std::string("two")) {
      const std::vector<std::byte> old(8 * kMiB, std::byte{0xa5});
      for (uint64_t offset : {uint64_t{0}, 100 * kMiB, 248 * kMiB}) ASSERT_TRUE(IsOk(device->Write(offset, old)));
    }
    ::setenv("SOURCE_DATE_EPOCH", name == std::string("two") ? "12345" : "999", 1);
    ASSERT_TRUE(IsOk(MakeFilesystem(device, SomeMkfsRequest(), CallContext())));
    ::unsetenv("SOURCE_DATE_EPOCH");
  }
  EXPECT_EQ(Digest(folder.File("one")), Digest(folder.File("two")));
}

TEST(MakeFilesystem, GivesOtherBytesForAnotherIdentity) {
  const TempFolder folder;
  std::string last = "none";
  for (int change = 0; change < 5; ++change) {
    MkfsRequest request = SomeMkfsRequest();
    if (change == 1) request.uuid[3] ^= 1;
    if (change == 2) request.hash_seed[3] ^= 1;
    if (change == 3) request.label = "rootfs";
    if (change == 4) request.time = 0;
    const std::string path = folder.File(std::to_string(change));
    ASSERT_TRUE(IsOk(MakeFilesystem(CreateFile(path, 64 * kMiB), request, CallContext())));
    const std::string digest = Digest(path);
    EXPECT_NE(digest, last);
    last = digest;
  }
}

TEST(MakeFilesystem, MakesTheDocumentedProfile) {
  const TempFolder folder;
  MkfsRequest request = SomeMkfsRequest();
  request.label = "sixteen bytes ok";
  ASSERT_TRUE(IsOk(MakeFilesystem(CreateFile(folder.File("disk"), kGiB), request, CallContext())));
  const std::string text = RunTool("dumpe2fs '" + folder.File("disk") + "'").output;
  for (const char* line :
       {"Filesystem volume name:   sixteen bytes ok", "Filesystem UUID:          10111213-1415-1617-1819-1a1b1c1d1e1f",
        "Directory Hash Seed:      80818283-8485-8687-8889-8a8b8c8d8e8f",
        "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file "
        "dir_nlink extra_isize metadata_csum\n",
        "Reserved block count:     0\n", "Block size:               4096\n", "Inode size:\t          256\n",
        "Inodes per group:         8192\n", "Maximum mount count:      -1\n", "signed_directory_hash"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text.substr(0, 3000);
  }
  // Every inode table says that it is zeroed, so that no kernel writes to it.
  EXPECT_EQ(RunTool("dumpe2fs '" + folder.File("disk") + "' 2>/dev/null | grep -c ITABLE_ZEROED").output, "8\n");
}

TEST(MakeFilesystem, RefusesWhatCannotWork) {
  const TempFolder folder;
  auto device = CreateFile(folder.File("disk"), 64 * kMiB);
  MkfsRequest request = SomeMkfsRequest();
  request.size_bytes = 65 * kMiB;
  EXPECT_EQ(MakeFilesystem(device, request, CallContext()).status().failure().kind, StatusKind::kInvalidArgument);
  request.size_bytes = 15 * kMiB;
  const Status small = MakeFilesystem(device, request, CallContext()).status();
  ASSERT_FALSE(small.ok());
  EXPECT_EQ(small.failure().kind, StatusKind::kTooSmall);
  EXPECT_EQ(small.failure().minimum_bytes, kMinimumExt4Bytes);
  request.size_bytes = 64 * kMiB;
  request.label = "seventeen bytes..";
  EXPECT_EQ(MakeFilesystem(device, request, CallContext()).status().failure().kind, StatusKind::kInvalidArgument);
}

TEST(MakeFilesystem, ReportsTheDevicesFailure) {
  for (uint64_t skip : {0, 1, 5, 20}) {
    auto inner = MemoryDevice::Create(64 * kMiB);
    ASSERT_TRUE(IsOk(inner));
    auto faulty = std::make_shared<FaultyDevice>(inner.value());
    faulty->Arm({.kind = OperationKind::kWrite, .skip = skip, .count = 1, .error_number = ENOSPC});
    const Status status = MakeFilesystem(faulty, SomeMkfsRequest(), CallContext()).status();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.failure().kind, StatusKind::kNoSpace);
    EXPECT_EQ(status.failure().error_number, ENOSPC);
    EXPECT_TRUE(status.failure().offset_bytes.has_value());
  }
}

TEST(MakeFilesystem, CanBeCancelled) {
  auto device = MemoryDevice::Create(64 * kMiB);
  ASSERT_TRUE(IsOk(device));
  std::stop_source stop;
  stop.request_stop();
  CallContext context;
  context.stop = stop.get_token();
  EXPECT_EQ(MakeFilesystem(device.value(), SomeMkfsRequest(), context).status().failure().kind, StatusKind::kCancelled);
}

TEST(ReadStats, KnowsSizesAndState) {
  const TempFolder folder;
  MkfsRequest request = SomeMkfsRequest();
  request.label = "stats";
  auto device = CreateFile(folder.File("disk"), kGiB);
  ASSERT_TRUE(IsOk(MakeFilesystem(device, request, CallContext())));
  const auto stats = ReadStats(device, CallContext());
  ASSERT_TRUE(IsOk(stats));
  EXPECT_EQ(stats->size_bytes, kGiB);
  EXPECT_EQ(stats->block_size, 4096u);
  EXPECT_EQ(stats->used_bytes + stats->free_bytes, kGiB);
  EXPECT_EQ(stats->reserved_bytes, 0u);
  EXPECT_EQ(stats->inode_count, 65536u);
  EXPECT_EQ(stats->free_inode_count, 65536u - 11u);
  EXPECT_EQ(stats->uuid, request.uuid);
  EXPECT_EQ(stats->label, "stats");
  EXPECT_TRUE(stats->clean) << stats->not_clean_reason;
  EXPECT_GE(stats->max_grown_bytes, 1000 * kGiB);
  EXPECT_EQ(stats->created_time, 1'700'000'000);
  EXPECT_EQ(stats->mounted_time, 0);
}

TEST(ReadStats, ReservedBlocksAreNotFree) {
  const TempFolder folder;
  ASSERT_TRUE(ToolSucceeds("mke2fs -q -t ext4 -m 5 '" + folder.File("disk") + "' 512M"));
  const auto stats = ReadStats(OpenImage(folder.File("disk")), CallContext());
  ASSERT_TRUE(IsOk(stats));
  EXPECT_EQ(stats->reserved_bytes, 512 * kMiB / 20 / 4096 * 4096);
  EXPECT_EQ(stats->used_bytes + stats->free_bytes + stats->reserved_bytes, 512 * kMiB);
}

TEST(ReadStats, SaysWhyADiskIsNotClean) {
  const TempFolder folder;
  const std::string path = folder.File("disk");
  const std::vector<std::pair<std::string, std::string>> damages = {
      {"ssv state 0", "it was not unmounted"},
      {"ssv state 3", "it is marked as having errors"},
      {"ssv last_orphan 12", "it has orphaned inodes"},
      {"ssv free_blocks_count 7", "its count of free blocks is stale"},
      {"ssv free_inodes_count 7", "its count of free inodes is stale"},
      {"feature needs_recovery", "its journal is not replayed"},
      {"set_bg 0 checksum 1", "the checksum of group descriptor 0 is wrong"},
  };
  for (const auto& [command, reason] : damages) {
    std::filesystem::remove(path);
    auto device = CreateFile(path, 64 * kMiB);
    ASSERT_TRUE(IsOk(MakeFilesystem(device, SomeMkfsRequest(), CallContext())));
    ASSERT_TRUE(ToolSucceeds("debugfs -w -R '" + command + "' '" + path + "'"));
    const auto stats = ReadStats(device, CallContext());
    ASSERT_TRUE(IsOk(stats)) << command;
    EXPECT_FALSE(stats->clean);
    EXPECT_EQ(stats->not_clean_reason, reason) << command;
  }
}

TEST(ReadStats, RefusesWhatIsNoFilesystem) {
  auto device = MemoryDevice::Create(64 * kMiB);
  ASSERT_TRUE(IsOk(device));
  EXPECT_EQ(ReadStats(device.value(), CallContext()).status().failure().kind, StatusKind::kCorrupt);
  auto tiny = MemoryDevice::Create(512, 512);
  ASSERT_TRUE(IsOk(tiny));
  EXPECT_EQ(ReadStats(tiny.value(), CallContext()).status().failure().kind, StatusKind::kCorrupt);
}

}  // namespace
}  // namespace rootloom::testing
