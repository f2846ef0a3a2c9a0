// What a helper cannot do, and what becomes of its owner when it misbehaves.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "test/native/isolation/isolation_testing.h"

namespace rootloom::testing {
namespace {

using std::chrono::milliseconds;

class SandboxTest : public ::testing::Test {
 protected:
  // What the probe answers to a deed.
  Result<uint64_t> Try(const std::string& deed, const CallContext& context = {}) {
    HelperJob job{.request = {.operation = HelperOperation::kMinimumSize, .device = {.name = deed}}, .device = device_};
    ROOTLOOM_ASSIGN_OR_RETURN(const HelperValue value, RunHelper(std::move(job), options_, context));
    return std::get<uint64_t>(value);
  }

  void ExpectCrash(const std::string& deed) {
    const Result<uint64_t> result = Try(deed);
    ASSERT_FALSE(result.ok()) << deed;
    EXPECT_EQ(result.status().failure().kind, StatusKind::kEngineCrashed) << deed;
    EXPECT_EQ(result.status().failure().path, deed);
  }

  Isolation isolation_;
  IsolationOptions options_ = isolation_.options(ROOTLOOM_PROBE);
  const std::shared_ptr<Device> device_ = MemoryDevice::Create(1 << 20, 4096).value();
};

TEST_F(SandboxTest, EndsWhoTriesMoreThanItMay) {
  for (const char* deed : {"socket", "fork", "execve", "ptrace", "kill", "duplicate", "code"}) ExpectCrash(deed);
  for (const char* deed : {"open", "limit"}) {
    // Under the sanitizer, which tries them itself, they fail instead.
    const Result<uint64_t> result = Try(deed);
    if (kSanitized && result.ok()) {
      EXPECT_EQ(result.value(), 0u) << deed;
    } else {
      ExpectCrash(deed);
    }
  }
}

TEST_F(SandboxTest, LeavesNoRightsOfTheOwner) {
  for (const char* deed : {"descriptors", "environment"}) {
    const Result<uint64_t> result = Try(deed);
    ASSERT_TRUE(IsOk(result)) << deed;
    EXPECT_EQ(result.value(), 0u) << deed;
  }
  const Result<uint64_t> user = Try("user");
  ASSERT_TRUE(IsOk(user));
  EXPECT_NE(user.value(), 0u);
}

TEST_F(SandboxTest, BoundsMemory) {
  options_.limits.memory_bytes = uint64_t{1} << 30;
  const Result<uint64_t> result = Try("memory");
  ASSERT_TRUE(IsOk(result));
  // The sanitizer needs terabytes of address space, and so there is no limit under it.
  EXPECT_EQ(result.value(), kSanitized ? 1u : 0u);
}

TEST_F(SandboxTest, CrashesAreErrors) {
  for (const char* deed : {"crash", "abort", "leave"}) ExpectCrash(deed);
}

TEST_F(SandboxTest, NonsenseIsAnError) {
  for (const char* deed : {"garbage", "much", "scratches", "runs", "again", "other"}) ExpectCrash(deed);
}

TEST_F(SandboxTest, ContentThatLiesOutOfOrderOrOutsideOfADiskIsNonsense) {
  constexpr int64_t kGoodDeed = 1;
  for (int64_t deed = -1; deed <= 7; ++deed) {
    const auto report = isolated::Rebuild(device_, MakeMemoryDevice(device_->size_bytes()).value(), {.time = deed},
                                          options_, CallContext());
    if (deed == kGoodDeed) {
      ASSERT_TRUE(IsOk(report));
      EXPECT_EQ(report->runs.size(), 2u);
    } else {
      ASSERT_FALSE(report.ok()) << deed;
      EXPECT_EQ(report.status().failure().kind, StatusKind::kEngineCrashed) << deed;
    }
  }
}

TEST_F(SandboxTest, ASilentHelperIsEnded) {
  options_.stall_timeout = milliseconds(200);
  ExpectCrash("hang");
}

TEST_F(SandboxTest, ABusyHelperIsEnded) {
  options_.limits.cpu_seconds = 1;
  ExpectCrash("hang");
  ExpectCrash("progress");
}

TEST_F(SandboxTest, AStopEndsTheHelperAtOnce) {
  std::stop_source stop;
  std::jthread stopper([&stop] {
    std::this_thread::sleep_for(milliseconds(100));
    stop.request_stop();
  });
  const Result<uint64_t> result = Try("hang", {.stop = stop.get_token()});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().failure().kind, StatusKind::kCancelled);
}

TEST_F(SandboxTest, AHelperThatIsNotThereIsAnError) {
  options_.helper_path = "/nonexistent/helper";
  const Result<uint64_t> result = Try("user");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().failure().kind, StatusKind::kNotFound);
}

TEST_F(SandboxTest, WhatOnlyReadsCannotWrite) {
  const std::string before = ReadAll(*device_);
  const Result<uint64_t> result = Try("write");
  ASSERT_TRUE(IsOk(result));
  EXPECT_EQ(result.value(), 0u);
  EXPECT_TRUE(ReadAll(*device_) == before);
}

TEST_F(SandboxTest, ACrashChangesNothing) {
  const std::string before = ReadAll(*device_);
  const auto report = isolated::Fsck(device_, {.repair = true, .time = std::nullopt}, options_, CallContext());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().failure().kind, StatusKind::kEngineCrashed);
  EXPECT_TRUE(ReadAll(*device_) == before);
}

TEST_F(SandboxTest, LeavesNoProcessBehind) {
  for (const char* deed : {"user", "crash", "garbage"}) [[maybe_unused]] const auto ignored = Try(deed);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

// The only child of a process, once it has one.
pid_t WaitForChildOf(pid_t parent) {
  const std::string path = "/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children";
  for (;;) {
    pid_t child = 0;
    if (std::ifstream(path) >> child) return child;
    std::this_thread::sleep_for(milliseconds(1));
  }
}

TEST_F(SandboxTest, TheHelperEndsWithItsOwner) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    [[maybe_unused]] const auto ignored = Try("hang");
    ::_exit(0);
  }
  const pid_t helper = WaitForChildOf(owner);
  ::kill(owner, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(owner, &status, 0), owner);
  ASSERT_EQ(::waitpid(helper, &status, 0), helper) << "it is ours now, and has ended";
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

}  // namespace
}  // namespace rootloom::testing
