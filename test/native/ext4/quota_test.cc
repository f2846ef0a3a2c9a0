// A resize of a filesystem with quota files: what they say afterwards.
#include "native/ext4/quota.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "native/block/faulty_device.h"
#include "native/ext4/resize.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kBlockBytes = 1024;
constexpr uint32_t kOwner = 1000;
constexpr int kSmallFiles = 3000;
constexpr uint64_t kLargeFiles = 5;

// The quota file's own layout: what a filesystem notes for one owner.
struct QuotaEntry {
  uint32_t id = 0;
  uint32_t padding = 0;
  uint64_t inode_hard_limit = 0;
  uint64_t inode_soft_limit = 0;
  uint64_t inodes = 0;
  uint64_t space_hard_limit = 0;
  uint64_t space_soft_limit = 0;
  uint64_t space = 0;
  uint64_t space_time = 0;
  uint64_t inode_time = 0;
};
static_assert(sizeof(QuotaEntry) == 72);
constexpr uint64_t kEntriesOffset = 16;  // in a block of entries
constexpr uint64_t kGraceOffset = 8;     // of the whole file

class QuotaTest : public ::testing::Test {
 protected:
  // A disk with files of kOwner behind holes of one block each: moved, they fall into pieces and need extent trees.
  void SetUp() override {
    const std::string content = folder_.File("content");
    std::filesystem::create_directories(content);
    for (int i = 0; i < kSmallFiles; ++i) std::ofstream(content + "/small" + std::to_string(i)) << "x";
    std::ofstream(folder_.File("filler")) << std::string(15 * kMiB, 'f');
    std::ofstream(folder_.File("large")) << std::string(100 * kBlockBytes, 'l');
    std::ofstream commands(folder_.File("commands"));
    commands << "write " << folder_.File("filler") << " filler\n";
    for (uint64_t i = 0; i < kLargeFiles; ++i) {
      const std::string name = "large" + std::to_string(i);
      commands << "write " << folder_.File("large") << " " << name << "\n";
      commands << "sif " << name << " uid " << kOwner << "\nsif " << name << " gid " << kOwner << "\n";
    }
    commands << "rm filler\n";
    for (int i = 0; i < kSmallFiles; i += 2) commands << "rm small" << i << "\n";
    commands.close();
    ASSERT_TRUE(ToolSucceeds("mke2fs -q -t ext4 -O quota,project,^has_journal -b 1024 -d '" + content + "' '" + path_ +
                             "' 40M && debugfs -w -f '" + folder_.File("commands") + "' '" + path_ + "'"));
    // mke2fs counts nothing for these files; a check does, and a second one what the first changed in directories.
    for (int i = 0; i < 2; ++i) RunTool("e2fsck -fy '" + path_ + "'");
    ASSERT_TRUE(StockCheckIsClean(path_));
  }

  // Where the entry of kOwner lies in the image: type 3 is that of users, 4 that of groups.
  uint64_t FindEntry(int file) {
    std::istringstream blocks(
        RunTool("debugfs -R 'blocks <" + std::to_string(file) + ">' '" + path_ + "' 2>&-").output);
    std::ifstream image(path_, std::ios::binary);
    for (uint64_t block = 0; blocks >> block;) {
      for (uint64_t offset = kEntriesOffset; offset + sizeof(QuotaEntry) <= kBlockBytes; offset += sizeof(QuotaEntry)) {
        QuotaEntry entry;
        image.seekg(static_cast<std::streamoff>(block * kBlockBytes + offset));
        image.read(reinterpret_cast<char*>(&entry), sizeof entry);
        if (entry.id == kOwner && entry.inodes == kLargeFiles) return block * kBlockBytes + offset;
      }
    }
    ADD_FAILURE() << "no entry";
    return 0;
  }

  QuotaEntry ReadEntry(int file) {
    QuotaEntry entry;
    std::ifstream image(path_, std::ios::binary);
    image.seekg(static_cast<std::streamoff>(FindEntry(file)));
    image.read(reinterpret_cast<char*>(&entry), sizeof entry);
    return entry;
  }

  void WriteEntry(int file, const QuotaEntry& entry) {
    const uint64_t offset_bytes = FindEntry(file);
    std::fstream image(path_, std::ios::binary | std::ios::in | std::ios::out);
    image.seekp(static_cast<std::streamoff>(offset_bytes));
    image.write(reinterpret_cast<const char*>(&entry), sizeof entry);
  }

  std::string Grace(int file) {
    return RunTool("debugfs -R 'cat <" + std::to_string(file) + ">' '" + path_ + "' 2>&- | head -c " +
                   std::to_string(kGraceOffset + 8) + " | od -A n -t x1")
        .output;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("disk");
  Scratch scratch_;
};

TEST_F(QuotaTest, ResizeNotesTheSpaceThatFilesTakeAfterItAndKeepsLimits) {
  std::map<int, QuotaEntry> before;
  for (const int file : {3, 4}) {
    QuotaEntry& entry = before[file] = ReadEntry(file);
    entry.inode_hard_limit = 77;
    entry.inode_soft_limit = 4;
    entry.space_hard_limit = 1 << 20;
    entry.space_soft_limit = 10;
    entry.space_time = 1'600'000'000;
    entry.inode_time = 1'600'000'001;
    WriteEntry(file, entry);
  }
  const std::string grace = Grace(3);
  const auto shrunk = Resize(OpenImage(path_), {.time = 1'700'000'000}, scratch_.factory(), CallContext());
  ASSERT_TRUE(IsOk(shrunk));
  EXPECT_TRUE(shrunk->checked);
  std::filesystem::resize_file(path_, shrunk->new_size_bytes);
  EXPECT_TRUE(StockCheckIsClean(path_));
  for (const int file : {3, 4}) {
    QuotaEntry expected = before.at(file);
    const QuotaEntry entry = ReadEntry(file);
    EXPECT_GT(entry.space, expected.space) << "no extent tree was needed: this test shows nothing";
    expected.space = entry.space;
    EXPECT_EQ(std::memcmp(&entry, &expected, sizeof entry), 0);
  }
  EXPECT_EQ(Grace(3), grace);

  Extend(path_, 300 * kMiB);
  ASSERT_TRUE(IsOk(Resize(OpenImage(path_), {.size_bytes = 300 * kMiB, .time = 1}, scratch_.factory(), CallContext())));
  EXPECT_TRUE(StockCheckIsClean(path_));
}

TEST_F(QuotaTest, UpdateReportsTheDevicesFailureAtEveryOperation) {
  for (const int file : {3, 4}) {
    QuotaEntry wrong = ReadEntry(file);
    wrong.space = 1;
    WriteEntry(file, wrong);
  }
  const std::shared_ptr<Device> base = OpenImage(path_);
  for (const OperationKind kind : {OperationKind::kRead, OperationKind::kWrite}) {
    uint64_t skip = 0;
    for (;; ++skip) {
      auto overlay = scratch_.factory()(base);
      ASSERT_TRUE(IsOk(overlay));
      auto faulty = std::make_shared<FaultyDevice>(overlay.value());
      faulty->Arm({.kind = kind, .skip = skip, .count = 1, .error_number = EIO});
      IoCounts counts;
      const Status status = UpdateQuota(faulty, 1, counts, CallContext());
      if (faulty->hit_count() == 0) break;
      ASSERT_FALSE(status.ok()) << "an error was swallowed: " << OperationKindName(kind) << " " << skip;
      EXPECT_EQ(status.failure().error_number, EIO) << status.failure().Message();
    }
    EXPECT_GT(skip, kind == OperationKind::kRead ? 20u : 1u);
  }
}

TEST_F(QuotaTest, UpdateRefusesAFileThatIsNoQuotaFile) {
  const std::string blocks = RunTool("debugfs -R 'blocks <3>' '" + path_ + "' 2>&-").output;
  const std::shared_ptr<Device> device = OpenImage(path_);
  const std::vector<std::byte> noise(kBlockBytes, std::byte{0xee});
  ASSERT_TRUE(IsOk(device->Write(std::stoull(blocks) * kBlockBytes, noise)));
  IoCounts counts;
  const Status status = UpdateQuota(device, 1, counts, CallContext());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.failure().kind, StatusKind::kCorrupt) << status.failure().Message();
}

}  // namespace
}  // namespace rootloom::testing
