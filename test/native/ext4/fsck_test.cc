#include "native/ext4/fsck.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "native/block/faulty_device.h"
#include "native/ext4/stats.h"
#include "test/native/ext4/ext4_testing.h"
#include "test/native/util/random.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class FsckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MakeContent(folder_.File("content"), 400);
    ASSERT_TRUE(ToolSucceeds("mke2fs -q -t ext4 -d '" + folder_.File("content") + "' '" + path_ + "' 100M"));
  }

  void Damage(const std::string& command) {
    ASSERT_TRUE(ToolSucceeds("debugfs -w -R '" + command + "' '" + path_ + "'"));
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("disk");
};

// What reaches the descriptors 1 and 2 while it exists.
class CapturedOutput {
 public:
  explicit CapturedOutput(const std::string& path) {
    std::fflush(nullptr);
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    for (int i = 0; i < 2; ++i) {
      saved_[i] = ::dup(i + 1);
      ::dup2(file, i + 1);
    }
    ::close(file);
  }
  ~CapturedOutput() {
    std::fflush(nullptr);
    for (int i = 0; i < 2; ++i) {
      ::dup2(saved_[i], i + 1);
      ::close(saved_[i]);
    }
  }

 private:
  int saved_[2];
};

TEST_F(FsckTest, FindsNothingInASoundFilesystemAndWritesNothing) {
  const std::string before = RunTool("sha256sum < '" + path_ + "'").output;
  auto device = FileDevice::Open(path_);
  ASSERT_TRUE(IsOk(device));
  const auto report = Fsck(device.value(), {}, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->clean()) << report->output;
  EXPECT_TRUE(report->problems.empty());
  EXPECT_EQ(RunTool("sha256sum < '" + path_ + "'").output, before);
}

TEST_F(FsckTest, TellsProblemsWithCodeAndRepairsThem) {
  Damage("clri /many");
  auto device = OpenImage(path_);
  const auto found = Fsck(device, {}, CallContext());
  ASSERT_TRUE(IsOk(found));
  EXPECT_EQ(found->exit_bits, 4);
  EXPECT_FALSE(found->clean());
  ASSERT_FALSE(found->problems.empty());
  bool names_the_entry = false;
  for (const E2fsckProblem& problem : found->problems) {
    EXPECT_FALSE(problem.fixed) << problem.message;
    EXPECT_NE(problem.code, 0u);
    EXPECT_EQ(problem.message.find('\n'), std::string::npos);
    names_the_entry = names_the_entry || problem.message.find("'many' in /") != std::string::npos;
  }
  EXPECT_TRUE(names_the_entry);

  const auto repaired = Fsck(device, {.repair = true}, CallContext());
  ASSERT_TRUE(IsOk(repaired));
  EXPECT_EQ(repaired->exit_bits, 1);
  EXPECT_TRUE(std::any_of(repaired->problems.begin(), repaired->problems.end(),
                          [](const E2fsckProblem& problem) { return problem.fixed; }));
  EXPECT_TRUE(StockCheckIsClean(path_));
  EXPECT_TRUE(Fsck(device, {}, CallContext())->clean());
}

TEST_F(FsckTest, ReportsWhatIsNoFilesystemAsData) {
  const auto report = Fsck(ToMemory(std::string(4 * kMiB, 'x')), {.repair = true}, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->exit_bits, 8);
  EXPECT_FALSE(report->problems.empty());
}

TEST_F(FsckTest, IsSilentAndLeavesNothingBehind) {
  const std::string image = RunTool("cat '" + path_ + "'").output;
  const int next_fd_before = ::dup(0);
  ::close(next_fd_before);
  Random random(2);
  {
    const CapturedOutput captured(folder_.File("captured"));
    for (int round = 0; round < 40; ++round) {
      std::string broken = image;
      // Random damage in the metadata: the first megabytes of the image.
      for (int i = 0; i < 200; ++i) broken[random.Below(4 * kMiB)] = static_cast<char>(random.Below(256));
      const auto device = ToMemory(broken);
      const auto report = Fsck(device, {.repair = true}, CallContext());
      if (report.ok()) (void)Fsck(device, {.repair = true}, CallContext());
      (void)ReadStats(device, CallContext());
    }
  }
  EXPECT_EQ(std::filesystem::file_size(folder_.File("captured")), 0u)
      << RunTool("head -c 2000 '" + folder_.File("captured") + "'").output;
  const int next_fd = ::dup(0);
  ::close(next_fd);
  EXPECT_EQ(next_fd, next_fd_before);
}

TEST_F(FsckTest, ARunThatGaveUpDoesNotAffectTheNext) {
  const std::string image = RunTool("cat '" + path_ + "'").output;
  Damage("clri /many");
  const std::string broken = RunTool("cat '" + path_ + "'").output;
  const auto expected = Fsck(ToMemory(broken), {.repair = false, .time = 1}, CallContext());
  ASSERT_TRUE(IsOk(expected));
  for (uint64_t skip = 0; skip < 600; skip = skip * 4 / 3 + 1) {
    auto faulty = std::make_shared<FaultyDevice>(ToMemory(broken));
    faulty->Arm({.kind = OperationKind::kRead, .skip = skip, .count = 1, .error_number = EIO});
    const auto failed = Fsck(faulty, {.repair = true}, CallContext());
    if (faulty->hit_count() > 0) {
      ASSERT_FALSE(failed.ok()) << skip;
      EXPECT_EQ(failed.status().failure().error_number, EIO);
      EXPECT_TRUE(failed.status().failure().offset_bytes.has_value());
    }
    const auto again = Fsck(ToMemory(broken), {.repair = false, .time = 1}, CallContext());
    ASSERT_TRUE(IsOk(again));
    ASSERT_EQ(again->output, expected->output) << skip;
    ASSERT_TRUE(Fsck(ToMemory(image), {}, CallContext())->clean()) << skip;
  }
}

TEST_F(FsckTest, CanBeCancelledAtAnyProgress) {
  const std::shared_ptr<Device> device = OpenImage(path_);
  for (int reports = 0; reports < 6; ++reports) {
    std::stop_source stop;
    CallContext context;
    context.stop = stop.get_token();
    int seen = 0;
    context.report = [&](const Progress&) {
      if (seen++ == reports) stop.request_stop();
    };
    const auto report = Fsck(device, {}, context);
    if (seen <= reports) continue;
    ASSERT_FALSE(report.ok()) << reports;
    EXPECT_EQ(report.status().failure().kind, StatusKind::kCancelled);
  }
}

TEST_F(FsckTest, WaitingForAnotherCheckCanBeCancelled) {
  auto slow = std::make_shared<FaultyDevice>(OpenImage(path_));
  slow->Arm({.kind = OperationKind::kRead, .delay = std::chrono::milliseconds(20)});
  std::stop_source stop_first;
  std::stop_source stop_second;
  Status first;
  Status second;
  std::thread running([&] {
    CallContext context;
    context.stop = stop_first.get_token();
    first = Fsck(slow, {}, context).status();
  });
  while (slow->hit_count() == 0) std::this_thread::yield();
  std::thread waiting([&] {
    CallContext context;
    context.stop = stop_second.get_token();
    second = Fsck(OpenImage(path_), {}, context).status();
  });
  stop_second.request_stop();
  waiting.join();
  EXPECT_EQ(second.failure().kind, StatusKind::kCancelled);
  stop_first.request_stop();
  running.join();
  EXPECT_EQ(first.failure().kind, StatusKind::kCancelled);
}

TEST_F(FsckTest, ThreadsAreServedOneAfterTheOther) {
  const std::string image = RunTool("cat '" + path_ + "'").output;
  Damage("clri /deep");
  const std::string broken = RunTool("cat '" + path_ + "'").output;
  std::vector<std::thread> threads;
  std::vector<int> exit_bits(8, -1);
  for (size_t i = 0; i < exit_bits.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto report = Fsck(ToMemory(i % 2 == 0 ? image : broken), {}, CallContext());
      if (report.ok()) exit_bits[i] = report->exit_bits;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(exit_bits, (std::vector<int>{0, 4, 0, 4, 0, 4, 0, 4}));
}

TEST_F(FsckTest, RefusesToRepairAReadOnlyDevice) {
  auto device = FileDevice::Open(path_);
  ASSERT_TRUE(IsOk(device));
  EXPECT_TRUE(FailedWith(Fsck(device.value(), {.repair = true}, CallContext()), EROFS));
}

}  // namespace
}  // namespace rootloom::testing
