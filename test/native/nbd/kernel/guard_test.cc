// The guard: what it is told, what it does when its owner has gone, and that it comes and goes with its devices.
#include "native/nbd/kernel/guard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <thread>

#include "native/nbd/guard/duty.h"
#include "native/nbd/kernel/patience.h"
#include "native/nbd/kernel/slot_lock.h"
#include "test/native/nbd/kernel/fake_machine.h"

namespace rootloom::nbd {
namespace {

using namespace std::chrono_literals;
using testing::FakeMachine;

// ---- Messages ----

TEST(GuardMessage, ComesBackFromItsText) {
  for (const auto kind : {GuardMessage::Kind::kWatch, GuardMessage::Kind::kRelease}) {
    const GuardMessage message{.kind = kind, .target = {.index = 12, .backend = "name", .run_folder = "/a folder /b"}};
    EXPECT_EQ(DecodeGuardMessage(EncodeGuardMessage(message)), message);
  }
}

TEST(GuardMessage, IsNotReadFromAnyOtherText) {
  const std::string text = EncodeGuardMessage({.target = {.index = 1, .backend = "name", .run_folder = "/run"}});
  for (size_t length = 0; length < text.size(); ++length) EXPECT_FALSE(DecodeGuardMessage(text.substr(0, length)));
  EXPECT_FALSE(DecodeGuardMessage("x" + text));
  EXPECT_FALSE(DecodeGuardMessage(std::string("watch one name /run\0", 20)));
}

// ---- Duty ----

class DutyTest : public ::testing::Test {
 protected:
  DutyTest() : fake_(4) {
    EXPECT_TRUE(MakeRunFolder(fake_.run_folder()).ok());
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_.data()), 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kOwnerGone);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    owner_ = UniqueFd(ends_[0]);
    socket_ = UniqueFd(ends_[1]);
  }

  GuardTarget Target(uint32_t index) const {
    return {.index = index, .backend = "rootloom-" + std::to_string(index), .run_folder = fake_.run_folder()};
  }
  void Tell(GuardMessage::Kind kind, uint32_t index) {
    const std::string text = EncodeGuardMessage({.kind = kind, .target = Target(index)});
    ASSERT_EQ(::send(owner_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  Duty MakeDuty() {
    return {fake_.machine(), [this](uint32_t index) {
              asked_.push_back(index);
              if (refusals_-- > 0) return Status::Errno("disconnect", "", ENOBUFS);
              return Status::Ok();
            }};
  }

  FakeMachine fake_;
  std::array<int, 2> ends_;
  UniqueFd owner_, socket_, signals_;
  std::vector<uint32_t> asked_;
  int refusals_ = 0;
};

TEST_F(DutyTest, TakesWhatItIsToldUntilTheOwnerHasGone) {
  Duty duty = MakeDuty();
  for (const uint32_t index : {0U, 1U, 2U}) Tell(GuardMessage::Kind::kWatch, index);
  Tell(GuardMessage::Kind::kRelease, 1);
  ASSERT_EQ(::send(owner_.get(), "nonsense", 8, 0), 8);
  Tell(GuardMessage::Kind::kWatch, 0);
  owner_.Reset();
  duty.Take(socket_.get(), signals_.get(), ::getpid());
  EXPECT_EQ(duty.targets(), (std::vector{Target(2), Target(0)}));
}

TEST_F(DutyTest, BelievesTheSignalOnlyWhenItComesInTheOwnersName) {
  Duty duty = MakeDuty();
  ASSERT_EQ(::raise(kOwnerGone), 0);
  std::thread closer([this] {
    std::this_thread::sleep_for(20ms);
    Tell(GuardMessage::Kind::kWatch, 3);
    owner_.Reset();
  });
  duty.Take(socket_.get(), signals_.get(), ::getpid() + 1);
  closer.join();
  EXPECT_EQ(duty.targets(), std::vector{Target(3)});
}

TEST_F(DutyTest, EndsWithTheSignalWhileTheSocketStaysOpen) {
  Duty duty = MakeDuty();
  Tell(GuardMessage::Kind::kWatch, 2);
  ASSERT_EQ(::raise(kOwnerGone), 0);
  duty.Take(socket_.get(), signals_.get(), ::getpid());
  EXPECT_EQ(duty.targets(), std::vector{Target(2)});
}

TEST_F(DutyTest, DisconnectsWhatTheOwnerConnectedAndNothingElse) {
  Duty duty = MakeDuty();
  for (const uint32_t index : {0U, 1U, 2U, 3U, 9U}) Tell(GuardMessage::Kind::kWatch, index);
  owner_.Reset();
  duty.Take(socket_.get(), signals_.get(), ::getpid());
  fake_.Connect(0, "99", "rootloom-0");
  fake_.Connect(1, "99", "rootloom-of-another");
  fake_.Connect(2, "99", "");  // 3 is free, and 9 is not there
  duty.Fulfil();
  EXPECT_EQ(asked_, std::vector<uint32_t>{0});
  EXPECT_TRUE(duty.targets().empty());
  EXPECT_FALSE(*SlotLock::IsHeld(fake_.run_folder(), 0));
}

TEST_F(DutyTest, DisconnectsAlsoWhileTheOwnerCannotLetGoOfItsLock) {
  const auto lock = SlotLock::Try(fake_.run_folder(), 0);
  ASSERT_TRUE(lock.ok() && lock->has_value());
  Duty duty = MakeDuty();
  Tell(GuardMessage::Kind::kWatch, 0);
  owner_.Reset();
  duty.Take(socket_.get(), signals_.get(), ::getpid());
  fake_.Connect(0, "99", "rootloom-0");
  duty.Fulfil();
  EXPECT_EQ(asked_, std::vector<uint32_t>{0});
}

TEST_F(DutyTest, TriesAgainWhenTheKernelIsShortOfSomething) {
  refusals_ = 2;
  Duty duty = MakeDuty();
  Tell(GuardMessage::Kind::kWatch, 0);
  owner_.Reset();
  duty.Take(socket_.get(), signals_.get(), ::getpid());
  fake_.Connect(0, "99", "rootloom-0");
  duty.Fulfil();
  EXPECT_EQ(asked_, (std::vector<uint32_t>{0, 0, 0}));
  EXPECT_TRUE(duty.targets().empty());
}

// ---- The process ----

struct Process {
  pid_t pid = 0;
  pid_t session = 0;
};

// The guards whose parent is that process.
std::vector<Process> GuardsOf(pid_t parent) {
  std::vector<Process> guards;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string pid, name, state, parent_pid, group, session;
    if (!(file >> pid >> name >> state >> parent_pid >> group >> session)) continue;
    if (name == "(rootloom-guard)" && parent_pid == std::to_string(parent)) {
      guards.push_back({.pid = std::stoi(pid), .session = std::stoi(session)});
    }
  }
  return guards;
}

// Once it goes by its name, which one that has just been started does not yet; 0 when there is not exactly one.
Process TheGuardOf(pid_t parent) {
  std::vector<Process> guards;
  [[maybe_unused]] const bool found = WaitUntil(20s, {}, [&] { return (guards = GuardsOf(parent)).size() == 1; });
  return guards.size() == 1 ? guards[0] : Process{};
}

size_t CountEntries(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

// Of a device that no machine has: the guard has nothing to disconnect.
GuardTarget NoDevice(uint32_t number) {
  return {.index = 1'000'000 + number, .backend = "none", .run_folder = "/nonexistent"};
}

Result<GuardedDevice> Watch(uint32_t number) { return GuardedDevice::Watch(ROOTLOOM_GUARD, NoDevice(number)); }

TEST(GuardedDevice, SharesOneGuardThatGoesWithTheLast) {
  EXPECT_TRUE(GuardsOf(::getpid()).empty());
  {
    auto first = Watch(1);
    ASSERT_TRUE(first.ok());
    const auto second = Watch(2);
    ASSERT_TRUE(second.ok());
    const Process guard = TheGuardOf(::getpid());
    ASSERT_NE(guard.pid, 0);
    EXPECT_EQ(guard.session, guard.pid);
    const std::string proc = "/proc/" + std::to_string(guard.pid);
    EXPECT_TRUE(WaitUntil(10s, {}, [&] { return std::filesystem::read_symlink(proc + "/cwd") == "/"; }));
    EXPECT_EQ(CountEntries(proc + "/fd"), 5U);  // three standard ones, socket, signals
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::kill(guard.pid, signal);
    first = Watch(3);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(TheGuardOf(::getpid()).pid, guard.pid);
  }
  EXPECT_TRUE(GuardsOf(::getpid()).empty());
}

TEST(GuardedDevice, IsLookedAfterByAnotherGuardWhenSomebodyKilledTheFirst) {
  const auto first = Watch(1);
  ASSERT_TRUE(first.ok());
  const pid_t pid = TheGuardOf(::getpid()).pid;
  ASSERT_NE(pid, 0);
  ::kill(pid, SIGKILL);
  EXPECT_TRUE(WaitUntil(10s, {}, [] { return GuardsOf(::getpid()).empty(); }));  // nor a zombie
  const auto second = Watch(2);
  ASSERT_TRUE(second.ok());
  const pid_t next = TheGuardOf(::getpid()).pid;
  EXPECT_NE(next, 0);
  EXPECT_NE(next, pid);
}

TEST(GuardedDevice, NamesTheProgramThatCannotBeRun) {
  for (const char* program : {"/nonexistent/rootloom-guard", "/etc/passwd"}) {
    const auto guarded = GuardedDevice::Watch(program, NoDevice(1));
    ASSERT_FALSE(guarded.ok());
    EXPECT_EQ(guarded.status().failure().kind, StatusKind::kToolMissing);
    EXPECT_EQ(guarded.status().failure().path, program);
  }
}

TEST(GuardedDevice, LeavesNothingAfterManyCyclesOnManyThreads) {
  { ASSERT_TRUE(Watch(0).ok()); }
  const size_t descriptors = CountEntries("/proc/self/fd");
  const size_t threads = CountEntries("/proc/self/task");
  std::vector<std::thread> workers;
  for (uint32_t worker = 0; worker < 4; ++worker) {
    workers.emplace_back([worker] {
      for (int round = 0; round < 50; ++round) EXPECT_TRUE(Watch(worker).ok());
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_TRUE(GuardsOf(::getpid()).empty());
  EXPECT_EQ(CountEntries("/proc/self/fd"), descriptors);
  EXPECT_EQ(CountEntries("/proc/self/task"), threads);
}

TEST(GuardedDevice, LeavesAGuardThatDoesItsDutyAndEndsWhenTheOwnerIsKilled) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t owner = ::fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    const auto guarded = Watch(1);
    if (!guarded.ok()) ::_exit(1);
    for (;;) ::pause();
  }
  const pid_t guard = TheGuardOf(owner).pid;
  ::kill(owner, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(owner, &status, 0), owner);
  EXPECT_TRUE(WIFSIGNALED(status));
  ASSERT_NE(guard, 0);
  ASSERT_EQ(::waitpid(guard, &status, 0), guard);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace rootloom::nbd
