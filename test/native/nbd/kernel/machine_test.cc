// What is read of sysfs and procfs.
#include "native/nbd/kernel/machine.h"

#include <gtest/gtest.h>

#include "native/nbd/kernel/link.h"
#include "native/nbd/kernel/queue_settings.h"
#include "test/native/nbd/kernel/fake_machine.h"

namespace rootloom::nbd {
namespace {

using testing::FakeMachine;

TEST(ListDevices, FindsDevicesAndNothingElse) {
  const FakeMachine fake(12);
  const auto indices = ListDevices(fake.machine());
  ASSERT_TRUE(indices.ok());
  EXPECT_EQ(*indices, (std::vector<uint32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
}

TEST(ListDevices, SaysThatTheDriverIsMissing) {
  const FakeMachine fake(0);
  const auto indices = ListDevices(fake.machine());
  ASSERT_FALSE(indices.ok());
  EXPECT_EQ(indices.status().failure().kind, StatusKind::kModuleMissing);
  EXPECT_NE(indices.status().failure().Message().find("modprobe nbd"), std::string::npos);
}

TEST(ReadFacts, TellsWhetherADeviceIsConnected) {
  FakeMachine fake(2);
  fake.Connect(1, "1234", "somebody");
  const auto free = ReadFacts(fake.machine(), 0);
  ASSERT_TRUE(free.ok());
  EXPECT_FALSE(free->connected());
  EXPECT_FALSE(free->backend);
  const auto used = ReadFacts(fake.machine(), 1);
  ASSERT_TRUE(used.ok());
  EXPECT_TRUE(used->connected());
  EXPECT_EQ(used->size_bytes, 1U << 20);
  EXPECT_EQ(used->kernel_pid, 1234);
  EXPECT_EQ(used->backend, "somebody");
  const auto absent = ReadFacts(fake.machine(), 2);
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.status().failure().kind, StatusKind::kNotFound);
}

TEST(ProcessStart, SkipsANameWithParentheses) {
  const FakeMachine fake(1);
  const auto start = ProcessStart(fake.machine(), ::getpid());
  ASSERT_TRUE(start.ok());
  EXPECT_EQ(*start, 4711U);
  EXPECT_EQ(ProcessStart(fake.machine(), 1).status().failure().kind, StatusKind::kNotFound);
}

TEST(ProcessStart, RefusesATextThatIsCutShort) {
  const FakeMachine fake(1);
  for (const char* text : {"", "7", "7 (name", "7 (name)", "7 (name) S 1 2 3"}) {
    FakeMachine::Put(fake.machine().proc + "/7/stat", text);
    EXPECT_EQ(ProcessStart(fake.machine(), 7).status().failure().kind, StatusKind::kCorrupt) << text;
  }
}

TEST(ApplyQueueSettings, SetsWhatDiffersAndReadsItBack) {
  const FakeMachine fake(1);
  const auto settings = ApplyQueueSettings(fake.machine(), 0, {.max_sectors_kb = 512, .read_ahead_kb = 64});
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(*settings, (QueueSettings{.scheduler = "none", .max_sectors_kb = 512, .read_ahead_kb = 64}));
}

TEST(ApplyQueueSettings, FailsForAWishThatDoesNotComeTrue) {
  const FakeMachine fake(1);
  const std::string file = fake.machine().SysfsPath(0) + "/queue/max_sectors_kb";
  // A kernel that ignores what is written.
  std::filesystem::remove(file);
  std::filesystem::create_symlink("/dev/null", file);
  const auto wished = ApplyQueueSettings(fake.machine(), 0, {.max_sectors_kb = 512});
  ASSERT_FALSE(wished.ok());
  EXPECT_EQ(wished.status().failure().kind, StatusKind::kInvalidArgument);
  const auto defaults = ApplyQueueSettings(fake.machine(), 0, {});
  ASSERT_TRUE(defaults.ok());
  EXPECT_EQ(defaults->max_sectors_kb, 0U);
}

TEST(LinkFailure, SaysWhatToDo) {
  EXPECT_EQ(LinkFailure("/dev/nbd0", EBUSY).failure().kind, StatusKind::kBusy);
  EXPECT_EQ(LinkFailure("/dev/nbd0", EPERM).failure().kind, StatusKind::kPermission);
  EXPECT_EQ(LinkFailure("/dev/nbd0", EACCES).failure().kind, StatusKind::kPermission);
  EXPECT_NE(LinkFailure("/dev/nbd0", EPERM).failure().Message().find("CAP_SYS_ADMIN"), std::string::npos);
  const Failure other = LinkFailure("/dev/nbd0", EINVAL).failure();
  EXPECT_EQ(other.kind, StatusKind::kIo);
  EXPECT_EQ(other.error_number, EINVAL);
}

}  // namespace
}  // namespace rootloom::nbd
