// Rebuilds that are stopped in the middle of one huge directory, and of what is broken.
#include "native/ext4/rebuild/rebuild.h"

#include <gtest/gtest.h>

#include <stop_token>

#include "native/block/logging_device.h"
#include "native/ext4/ext4_tree.h"
#include "native/ext4/tree_directory_blocks.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

constexpr size_t kEntryCount = 100'000;
constexpr uint64_t kDiskBytes = 256 << 20;
constexpr uint64_t kDirectoryBytes = kEntryCount * 20;

// A filesystem with one directory of kEntryCount names.
std::shared_ptr<Device> HugeDirectory() {
  const CallContext context;
  const auto device = MakeMemoryDevice(kDiskBytes).value();
  EXPECT_TRUE(IsOk(MakeFilesystem(device, SomeMkfsRequest(), context)));
  const auto tree = Ext4Tree::Open(device, {.writable = true, .time = Timestamp{1, 0}}, context);
  EXPECT_TRUE(IsOk(tree));
  EXPECT_TRUE(IsOk(tree.value()->MakeDirectory("/d", {}, false, context)));
  for (size_t i = 0; i < kEntryCount; ++i) {
    // 65000 names are the most that one file can have.
    const std::string target = "/target" + std::to_string(i / 60'000);
    if (i % 60'000 == 0) {
      EXPECT_TRUE(IsOk(tree.value()->WriteFile(target, {}, {}, context)));
    }
    EXPECT_TRUE(IsOk(tree.value()->MakeHardLink(target, "/d/name " + std::to_string(i), context)));
  }
  EXPECT_TRUE(IsOk(tree.value()->Close(context)));
  return device;
}

// Triggers a stop at one of its reads.
class StoppingDevice final : public Device {
 public:
  StoppingDevice(std::shared_ptr<Device> inner, uint64_t stop_at_read)
      : inner_(std::move(inner)), stop_at_read_(stop_at_read) {}

  std::string name() const override { return inner_->name(); }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  uint32_t block_size() const override { return inner_->block_size(); }
  bool writable() const override { return false; }
  Status Flush() override { return inner_->Flush(); }

  uint64_t read_count() const { return read_count_; }
  std::stop_token token() const { return stop_.get_token(); }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override {
    if (++read_count_ == stop_at_read_) stop_.request_stop();
    return inner_->Read(offset_bytes, buffer);
  }
  Status DoWrite(uint64_t, std::span<const std::byte>, Durability) override { return Refuse(); }
  Status DoZero(Range, Durability) override { return Refuse(); }
  Status DoTrim(Range) override { return Refuse(); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override {
    return inner_->Extents(range, max_count);
  }

 private:
  Status Refuse() const { return Status::Errno("write", name(), EROFS); }

  const std::shared_ptr<Device> inner_;
  const uint64_t stop_at_read_;
  uint64_t read_count_ = 0;
  std::stop_source stop_;
};

TEST(RebuildTest, StopsInTheMiddleOfAHugeDirectory) {
  const auto source = HugeDirectory();
  const auto whole = std::make_shared<StoppingDevice>(source, 0);
  const auto target = std::make_shared<LoggingDevice>(MakeMemoryDevice(kDiskBytes).value());
  ASSERT_TRUE(IsOk(Rebuild(whole, target, {}, MakeMemoryDevice, {.stop = whole->token()})));
  const uint64_t reads = whole->read_count();
  ASSERT_GT(reads, kDirectoryBytes / 4096);
  ASSERT_GT(target->CountOf(OperationKind::kWrite).bytes, kDirectoryBytes);

  // While the directory is read, and right after its last block.
  for (const uint64_t stop_at_read : {reads / 2, reads}) {
    const auto stopping = std::make_shared<StoppingDevice>(source, stop_at_read);
    const auto unfinished = std::make_shared<LoggingDevice>(MakeMemoryDevice(kDiskBytes).value());
    const auto report = Rebuild(stopping, unfinished, {}, MakeMemoryDevice, {.stop = stopping->token()});
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.status().failure().kind, StatusKind::kCancelled);
    EXPECT_EQ(stopping->read_count(), stop_at_read);
    EXPECT_LT(unfinished->CountOf(OperationKind::kWrite).bytes, kDirectoryBytes);
  }
}

TEST(RebuildTest, AStoppedFilesystemBuildsNoDirectory) {
  const auto device = MakeMemoryDevice(kDiskBytes).value();
  ASSERT_TRUE(IsOk(MakeFilesystem(device, SomeMkfsRequest(), CallContext())));
  std::stop_source stop;
  const auto filesystem = Filesystem::Open(device, {.writable = true}, {.stop = stop.get_token()});
  ASSERT_TRUE(IsOk(filesystem));
  std::vector<DirectoryEntry> entries;
  for (size_t i = 0; i < kEntryCount; ++i) {
    entries.push_back({.name = "name " + std::to_string(i), .inode = 12, .type = EXT2_FT_REG_FILE});
  }
  const DirectoryIdentity identity{.directory = 11, .parent = 2};
  const auto blocks = BuildDirectoryBlocks(*filesystem.value(), identity, entries);
  ASSERT_TRUE(IsOk(blocks));
  EXPECT_GT(blocks->bytes.size(), kDirectoryBytes);
  stop.request_stop();
  const auto stopped = BuildDirectoryBlocks(*filesystem.value(), identity, entries);
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.status().failure().kind, StatusKind::kCancelled);
}

TEST(RebuildTest, ARootThatIsNoDirectoryIsCorrupt) {
  const TempFolder folder;
  const std::string path = folder.File("disk");
  ASSERT_TRUE(IsOk(MakeFilesystem(CreateFile(path, kDiskBytes), SomeMkfsRequest(), CallContext())));
  ASSERT_TRUE(ToolSucceeds("debugfs -w -R 'sif <2> mode 0100644' '" + path + "'"));
  const auto size = RebuiltSize(OpenImage(path), 0, MakeMemoryDevice, CallContext());
  ASSERT_FALSE(size.ok());
  EXPECT_EQ(size.status().failure().kind, StatusKind::kCorrupt) << size.status().failure().Message();
}

}  // namespace
}  // namespace rootloom::testing
