// The pool and its locks, without a kernel: who gets which device, and what counts as ours.
#include "native/nbd/kernel/pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <set>
#include <thread>

#include "test/native/nbd/kernel/fake_machine.h"

namespace rootloom::nbd {
namespace {

using testing::FakeMachine;

std::shared_ptr<Pool> OpenPool(const FakeMachine& fake) {
  auto pool = Pool::Open({.run_folder = fake.run_folder(), .machine = fake.machine()});
  EXPECT_TRUE(pool.ok());
  return *pool;
}

Status Accept(uint32_t, const std::string&) { return Status::Ok(); }

TEST(SlotRecord, ComesBackFromItsText) {
  const SlotRecord record{.boot_id = "boot", .pid = 12, .process_start = 345, .backend = "rootloom-1"};
  EXPECT_EQ(DecodeRecord(EncodeRecord(record)), record);
}

TEST(SlotRecord, IsNotReadFromAnyOtherText) {
  const std::string text = EncodeRecord({.boot_id = "boot", .pid = 12, .process_start = 345, .backend = "rootloom-1"});
  for (size_t length = 0; length + 1 < text.size(); ++length) EXPECT_FALSE(DecodeRecord(text.substr(0, length)));
  EXPECT_FALSE(DecodeRecord("x" + text));
  EXPECT_FALSE(DecodeRecord("rootloom-nbd-1 boot twelve 345 name end"));
}

TEST(SlotLock, IsForOneAtATime) {
  const FakeMachine fake(1);
  ASSERT_TRUE(MakeRunFolder(fake.run_folder()).ok());
  EXPECT_FALSE(*SlotLock::IsHeld(fake.run_folder(), 0));
  {
    const auto first = SlotLock::Try(fake.run_folder(), 0);
    ASSERT_TRUE(first.ok() && first->has_value());
    const auto second = SlotLock::Try(fake.run_folder(), 0);
    ASSERT_TRUE(second.ok());
    EXPECT_FALSE(second->has_value());
    EXPECT_TRUE(*SlotLock::IsHeld(fake.run_folder(), 0));
    const auto other = SlotLock::Try(fake.run_folder(), 1);
    EXPECT_TRUE(other.ok() && other->has_value());
  }
  EXPECT_FALSE(*SlotLock::IsHeld(fake.run_folder(), 0));
  EXPECT_TRUE(SlotLock::Try(fake.run_folder(), 0)->has_value());
}

TEST(SlotLock, GoesWithItsProcessAndLeavesTheRecord) {
  const FakeMachine fake(1);
  ASSERT_TRUE(MakeRunFolder(fake.run_folder()).ok());
  const SlotRecord record{.boot_id = "boot", .pid = 1, .process_start = 2, .backend = "name"};
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = SlotLock::Try(fake.run_folder(), 0);
    if (!lock.ok() || !lock->has_value() || !(*lock)->Write(record).ok()) ::_exit(1);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto lock = SlotLock::Try(fake.run_folder(), 0);
  ASSERT_TRUE(lock.ok() && lock->has_value());
  EXPECT_EQ((*lock)->Read(), record);
  ASSERT_TRUE((*lock)->Clear().ok());
  EXPECT_FALSE((*lock)->Read());
  EXPECT_FALSE(SlotLock::Peek(fake.run_folder(), 0));
}

TEST(Pool, FindsNoDriverOnlyWhenADeviceIsWanted) {
  const FakeMachine fake(0);
  const auto pool = OpenPool(fake);
  const auto slot = pool->Acquire({}, Accept);
  ASSERT_FALSE(slot.ok());
  EXPECT_EQ(slot.status().failure().kind, StatusKind::kModuleMissing);
}

TEST(Pool, HandsOutEveryDeviceOnceAndThenSaysHowManyThereAre) {
  const FakeMachine fake(4);
  const auto pool = OpenPool(fake);
  std::vector<Pool::Slot> slots;
  std::set<uint32_t> indices;
  for (int i = 0; i < 4; ++i) {
    auto slot = pool->Acquire({}, Accept);
    ASSERT_TRUE(slot.ok());
    indices.insert(slot->index);
    slots.push_back(std::move(slot).value());
  }
  EXPECT_EQ(indices.size(), 4U);
  const auto none = pool->Acquire({}, Accept);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().failure().kind, StatusKind::kBusy);
  EXPECT_NE(none.status().failure().Message().find("all 4 are in use (4 by rootloom)"), std::string::npos);
  const uint32_t freed = slots.back().index;
  slots.pop_back();
  EXPECT_EQ(pool->Acquire({}, Accept)->index, freed);
}

TEST(Pool, PassesOverWhatOthersConnected) {
  FakeMachine fake(3);
  fake.Connect(0, "99", "");
  fake.Connect(2, "98", "other");
  const auto slot = OpenPool(fake)->Acquire({}, Accept);
  ASSERT_TRUE(slot.ok());
  EXPECT_EQ(slot->index, 1U);
}

TEST(Pool, TriesTheNextDeviceWhenTheKernelSaysThatOneIsBusy) {
  const FakeMachine fake(3);
  std::set<uint32_t> tried;
  const auto slot = OpenPool(fake)->Acquire({}, [&](uint32_t index, const std::string&) {
    tried.insert(index);
    return tried.size() < 3 ? LinkFailure("nbd", EBUSY) : Status::Ok();
  });
  ASSERT_TRUE(slot.ok());
  EXPECT_EQ(tried.size(), 3U);
}

TEST(Pool, ComesBackToADeviceThatSomebodyOnlyLookedAt) {
  const FakeMachine fake(1);
  int attempts = 0;
  const auto slot = OpenPool(fake)->Acquire(
      {}, [&](uint32_t, const std::string&) { return ++attempts < 4 ? LinkFailure("nbd", EBUSY) : Status::Ok(); });
  ASSERT_TRUE(slot.ok());
  EXPECT_EQ(attempts, 4);
}

TEST(Pool, GivesUpAtOnceForAnyOtherFailure) {
  const FakeMachine fake(3);
  const auto pool = OpenPool(fake);
  int attempts = 0;
  const auto slot = pool->Acquire({}, [&](uint32_t, const std::string&) {
    ++attempts;
    return LinkFailure("nbd", EPERM);
  });
  ASSERT_FALSE(slot.ok());
  EXPECT_EQ(slot.status().failure().kind, StatusKind::kPermission);
  EXPECT_EQ(attempts, 1);
  // And leaves no record.
  for (uint32_t index = 0; index < 3; ++index) EXPECT_FALSE(SlotLock::Peek(fake.run_folder(), index));
}

TEST(Pool, StopsBetweenDevices) {
  const FakeMachine fake(3);
  std::stop_source stop;
  CallContext context;
  context.stop = stop.get_token();
  const auto slot = OpenPool(fake)->Acquire(context, [&](uint32_t, const std::string&) {
    stop.request_stop();
    return LinkFailure("nbd", EBUSY);
  });
  ASSERT_FALSE(slot.ok());
  EXPECT_EQ(slot.status().failure().kind, StatusKind::kCancelled);
}

TEST(Pool, PutsEachAttemptOnRecordUnderANameOfItsOwn) {
  const FakeMachine fake(2);
  const auto pool = OpenPool(fake);
  std::set<std::string> names;
  std::vector<Pool::Slot> slots;
  for (int i = 0; i < 2; ++i) {
    auto slot = pool->Acquire({}, [&](uint32_t index, const std::string& backend) {
      names.insert(backend);
      const auto record = SlotLock::Peek(fake.run_folder(), index);
      EXPECT_TRUE(record && record->backend == backend && record->pid == ::getpid() && record->process_start == 4711 &&
                  record->boot_id == "this-boot");
      return Status::Ok();
    });
    slots.push_back(std::move(slot).value());
  }
  EXPECT_EQ(names.size(), 2U);
}

TEST(Pool, NeverHandsADeviceToTwo) {
  const FakeMachine fake(4);
  // Each thread has a pool of its own, as each process has.
  std::vector<std::atomic<int>> owners(4);
  std::atomic<int> handed_out{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto pool = OpenPool(fake);
      for (int round = 0; round < 200; ++round) {
        const auto slot = pool->Acquire({}, Accept);
        if (!slot.ok()) {
          EXPECT_EQ(slot.status().failure().kind, StatusKind::kBusy);
          continue;
        }
        EXPECT_EQ(owners[slot->index].fetch_add(1), 0);
        handed_out.fetch_add(1);
        std::this_thread::yield();
        owners[slot->index].fetch_sub(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(handed_out.load(), 0);
}

TEST(Pool, ReportsWhatEachDeviceIsUsedFor) {
  FakeMachine fake(6);
  const auto pool = OpenPool(fake);
  auto record_in = [&](uint32_t index, const std::string& boot_id, const std::string& backend) {
    const auto lock = SlotLock::Try(fake.run_folder(), index);
    ASSERT_TRUE((*lock)->Write({.boot_id = boot_id, .pid = 5, .process_start = 6, .backend = backend}).ok());
  };
  const auto ours = SlotLock::Try(fake.run_folder(), 1);
  ASSERT_TRUE((*ours)->Write({.boot_id = "this-boot", .pid = 7, .process_start = 8, .backend = "one"}).ok());
  fake.Connect(1, "70", "one");
  record_in(2, "this-boot", "two");
  fake.Connect(2, "71", "two");
  record_in(3, "this-boot", "three");
  fake.Connect(3, "72", "somebody else's");
  record_in(4, "last-boot", "four");
  fake.Connect(4, "73", "four");
  record_in(5, "this-boot", "five");
  fake.Connect(5, "74", "");  // A kernel that keeps no names proves nothing.
  const auto reports = pool->Report();
  ASSERT_TRUE(reports.ok());
  std::vector<DeviceUse> uses;
  for (const DeviceReport& report : *reports) uses.push_back(report.use);
  EXPECT_EQ(uses, (std::vector<DeviceUse>{DeviceUse::kFree, DeviceUse::kOurs, DeviceUse::kLeft, DeviceUse::kForeign,
                                          DeviceUse::kForeign, DeviceUse::kForeign}));
  EXPECT_EQ((*reports)[1].record->pid, 7);
  EXPECT_EQ((*reports)[2].record->pid, 5);
  EXPECT_FALSE((*reports)[3].record);
}

}  // namespace
}  // namespace rootloom::nbd
