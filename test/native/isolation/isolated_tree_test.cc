// A tree in a helper does what one in this process does; and what becomes of it when the helper misbehaves.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "native/block/faulty_device.h"
#include "native/block/logging_device.h"
#include "native/ext4/ext4_tree.h"
#include "native/isolation/tree/tree_calls.h"
#include "test/native/isolation/isolation_testing.h"

namespace rootloom::testing {
namespace {

using std::chrono::milliseconds;

constexpr Timestamp kTime{1'700'000'000, 0};
const CallContext kContext;

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

class IsolatedTreeTest : public ::testing::Test {
 protected:
  std::shared_ptr<Tree> Open(const std::shared_ptr<Device>& device, bool writable) {
    auto tree = isolated::OpenTree(device, {.writable = writable, .time = kTime}, options_, kContext);
    EXPECT_TRUE(IsOk(tree));
    return *tree;
  }

  Isolation isolation_;
  IsolationOptions options_ = isolation_.options();
  const std::shared_ptr<Device> device_ = SomeFilesystem(64 << 20, 64 << 20);
};

// Everything that a tree can be told; the same for each.
void ChangeAll(Tree& tree) {
  const std::string large(300'000, 'x');
  EXPECT_TRUE(IsOk(tree.MakeDirectory("/a/b", {.uid = 5}, true, kContext)));
  EXPECT_TRUE(IsOk(tree.WriteFile("/a/large", Bytes(large), {.attributes = {.permissions = 0600}}, kContext)));
  EXPECT_TRUE(IsOk(tree.WriteFile("/a/empty", {}, {}, kContext)));
  EXPECT_TRUE(IsOk(tree.MakeSymlink("large", "/a/link", {}, kContext)));
  EXPECT_TRUE(IsOk(tree.MakeHardLink("/a/large", "/a/hard", kContext)));
  EXPECT_TRUE(IsOk(tree.MakeSpecial("/a/null", FileType::kCharacterDevice, {1, 3}, {}, kContext)));
  EXPECT_TRUE(IsOk(tree.Change("/a/link", LastLink::kKeep, {.gid = 9}, kContext)));
  EXPECT_TRUE(IsOk(tree.SetXattr("/a/large", LastLink::kFollow, {"user.one", "1"}, kContext)));
  EXPECT_TRUE(IsOk(tree.SetXattr("/a/large", LastLink::kFollow, {"user.two", "2"}, kContext)));
  EXPECT_TRUE(IsOk(tree.RemoveXattr("/a/large", LastLink::kFollow, "user.two", kContext)));
  EXPECT_TRUE(IsOk(tree.WriteFile("/a/gone", Bytes("gone"), {}, kContext)));
  EXPECT_TRUE(IsOk(tree.Remove("/a/gone", false, kContext)));
  EXPECT_TRUE(IsOk(tree.Rename("/a/empty", "/a/b/renamed", kContext)));
}

TEST_F(IsolatedTreeTest, MakesTheSameBytes) {
  const auto here = SomeFilesystem(64 << 20, 64 << 20);
  const auto tree_here = Ext4Tree::Open(here, {.writable = true, .time = kTime}, kContext).value();
  const auto tree_there = Open(device_, true);
  for (Tree* tree : std::initializer_list<Tree*>{tree_here.get(), tree_there.get()}) {
    ChangeAll(*tree);
    EXPECT_TRUE(IsOk(tree->Flush(kContext)));
    EXPECT_TRUE(IsOk(tree->WriteFile("/later", Bytes("later"), {}, kContext)));
    EXPECT_TRUE(IsOk(tree->Close(kContext)));
    const Status closed = tree->Close(kContext);
    ASSERT_FALSE(closed.ok());
    EXPECT_EQ(closed.failure().kind, StatusKind::kInvalidArgument);
  }
  EXPECT_TRUE(ReadAll(*here) == ReadAll(*device_));
}

TEST_F(IsolatedTreeTest, ReadsTheSame) {
  {
    const auto tree = Open(device_, true);
    ChangeAll(*tree);
    // More than one part of a list.
    for (int i = 0; i < 2000; ++i) {
      const std::string path = "/a/b/" + std::string(200, 'n') + std::to_string(i);
      ASSERT_TRUE(IsOk(tree->MakeSymlink("target", path, {}, kContext)));
    }
    EXPECT_TRUE(IsOk(tree->Close(kContext)));
  }
  const auto here = Ext4Tree::Open(device_, {}, kContext).value();
  const auto there = Open(device_, false);
  const auto encoded = [](const auto& result) { return EncodeTreeAnswer(result); };
  for (const char* path : {"/", "/a/large", "/a/link", "/a/null", "/nowhere", "/a/large/x"}) {
    for (const LastLink last : {LastLink::kFollow, LastLink::kKeep}) {
      EXPECT_EQ(encoded(there->Stat(path, last, kContext)), encoded(here->Stat(path, last, kContext))) << path;
      EXPECT_EQ(encoded(there->Xattrs(path, last, kContext)), encoded(here->Xattrs(path, last, kContext))) << path;
    }
    EXPECT_EQ(encoded(there->List(path, kContext)), encoded(here->List(path, kContext))) << path;
    EXPECT_EQ(encoded(there->ReadSymlink(path, kContext)), encoded(here->ReadSymlink(path, kContext))) << path;
  }
  EXPECT_EQ(encoded(there->List("/a/b", kContext)), encoded(here->List("/a/b", kContext)));
  for (const ContentRange range : {ContentRange{0, UINT64_MAX}, {0, 0}, {70'000, 90'000}, {299'999, 9}, {~0ull, 1}}) {
    const auto one = here->ReadFile("/a/large", range.offset_bytes, range.length_bytes, kContext);
    const auto other = there->ReadFile("/a/large", range.offset_bytes, range.length_bytes, kContext);
    ASSERT_TRUE(IsOk(one) && IsOk(other));
    EXPECT_TRUE(*one == *other) << range.offset_bytes;
  }
  const auto walk_here = here->StartWalk("a/", WalkDetail::kDigest, kContext).value();
  const auto walk_there = there->StartWalk("a/", WalkDetail::kDigest, kContext).value();
  { const auto dropped = there->StartWalk("/", WalkDetail::kStat, kContext).value(); }
  for (size_t count = 1; count > 0;) {
    const auto one = walk_here->Next(1500, kContext);
    const auto other = walk_there->Next(1500, kContext);
    ASSERT_TRUE(IsOk(one) && IsOk(other));
    EXPECT_EQ(encoded(other), encoded(one));
    count = one->size();
  }
}

TEST_F(IsolatedTreeTest, LeavesTheDeviceAsItWasUntilItIsFlushed) {
  const auto logging = std::make_shared<LoggingDevice>(device_, 100);
  const auto tree = Open(logging, true);
  ChangeAll(*tree);
  for (const auto& entry : logging->Log()) {
    const OperationKind kind = entry.operation.kind;
    EXPECT_TRUE(kind == OperationKind::kRead || kind == OperationKind::kPrefetch) << static_cast<int>(kind);
  }
  EXPECT_TRUE(IsOk(tree->Flush(kContext)));
  EXPECT_EQ(logging->Log().back().operation.kind, OperationKind::kFlush);
  const std::string flushed = ReadAll(*device_);
  EXPECT_TRUE(IsOk(tree->WriteFile("/dropped", Bytes("dropped"), {}, kContext)));
  EXPECT_TRUE(ReadAll(*device_) == flushed);
}

TEST_F(IsolatedTreeTest, FailsAsItsDevice) {
  const auto faulty = std::make_shared<FaultyDevice>(device_);
  const auto tree = Open(faulty, true);
  faulty->Arm({.kind = OperationKind::kRead, .error_number = ENODATA});
  const auto unread = tree->List("/", kContext);
  ASSERT_FALSE(unread.ok());
  EXPECT_EQ(unread.status().failure().error_number, ENODATA);
  faulty->Disarm();
  EXPECT_TRUE(IsOk(tree->List("/", kContext)));
  EXPECT_TRUE(IsOk(tree->WriteFile("/a", Bytes("a"), {}, kContext)));
  faulty->Arm({.kind = OperationKind::kFlush, .count = 1, .error_number = EDQUOT});
  const Status failed = tree->Flush(kContext);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.failure().error_number, EDQUOT);
  EXPECT_TRUE(IsOk(tree->Close(kContext))) << "what is not in the device yet is brought there again";
  EXPECT_TRUE(IsOk(Ext4Tree::Open(device_, {}, kContext).value()->Stat("/a", LastLink::kKeep, kContext)));
}

TEST_F(IsolatedTreeTest, CancelledCallsLeaveItAsItWas) {
  const auto slow = std::make_shared<FaultyDevice>(device_);
  const auto tree = Open(slow, true);
  EXPECT_TRUE(IsOk(tree->WriteFile("/a", Bytes(std::string(8 << 20, 'x')), {}, kContext)));
  EXPECT_TRUE(IsOk(tree->Flush(kContext)));
  // Each longer than a caller waits for a helper that is to stop.
  slow->Arm({.kind = OperationKind::kRead, .delay = milliseconds(100), .error_number = 0});
  std::stop_source stop;
  std::jthread stopper([&stop] {
    std::this_thread::sleep_for(milliseconds(150));
    stop.request_stop();
  });
  const auto read = tree->ReadFile("/a", 0, Tree::kMaxReadBytes, {.stop = stop.get_token()});
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().failure().kind, StatusKind::kCancelled);
  slow->Disarm();
  EXPECT_EQ(tree->ReadFile("/a", 0, Tree::kMaxReadBytes, kContext)->size(), size_t{8} << 20);
  EXPECT_TRUE(IsOk(tree->Close(kContext)));
}

// The only child of this process.
pid_t Helper() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream children(task.path() / "children");
    pid_t child = 0;
    if (children >> child) return child;
  }
  return -1;
}

TEST_F(IsolatedTreeTest, AHelperThatIsKilledIsAnErrorFromThenOn) {
  const auto tree = Open(device_, true);
  EXPECT_TRUE(IsOk(tree->WriteFile("/flushed", Bytes("f"), {}, kContext)));
  EXPECT_TRUE(IsOk(tree->Flush(kContext)));
  const std::string before = ReadAll(*device_);
  EXPECT_TRUE(IsOk(tree->WriteFile("/lost", Bytes("l"), {}, kContext)));
  ASSERT_EQ(::kill(Helper(), SIGKILL), 0);
  for (int i = 0; i < 2; ++i) {
    const auto stat = tree->Stat("/flushed", LastLink::kKeep, kContext);
    ASSERT_FALSE(stat.ok());
    EXPECT_EQ(stat.status().failure().kind, StatusKind::kEngineCrashed);
    EXPECT_EQ(stat.status().failure().path, device_->name());
  }
  EXPECT_EQ(tree->Flush(kContext).failure().kind, StatusKind::kEngineCrashed);
  EXPECT_TRUE(IsOk(tree->Close(kContext)));
  EXPECT_TRUE(ReadAll(*device_) == before);
}

class ProbedTreeTest : public IsolatedTreeTest {
 protected:
  ProbedTreeTest() { options_.helper_path = ROOTLOOM_PROBE; }

  // What a call of a tree of its own comes to; a helper that misbehaves is no use to any later call.
  template <typename Call>
  Status Try(Call call) {
    const auto tree = Open(device_, true);
    const Status status = call(*tree).status();
    const Status next = tree->Stat("/fine", LastLink::kKeep, kContext).status();
    EXPECT_EQ(status.ok(), next.ok());
    if (!next.ok()) {
      EXPECT_EQ(next.failure().kind, StatusKind::kEngineCrashed);
    }
    return status;
  }
  void ExpectCrash(const Status& status, const std::string& deed) {
    ASSERT_FALSE(status.ok()) << deed;
    EXPECT_EQ(status.failure().kind, StatusKind::kEngineCrashed) << deed << ": " << status.failure().Message();
    EXPECT_EQ(status.failure().path, device_->name());
  }
};

TEST_F(ProbedTreeTest, NonsenseIsAnError) {
  for (const char* deed : {"crash", "leave", "open", "garbage", "much", "again", "scratches", "runs", "other",
                           "content", "more", "part", "many permissions", "no time"}) {
    if (kSanitized && std::string(deed) == "open") continue;
    ExpectCrash(Try([&](Tree& tree) { return tree.Stat(deed, LastLink::kKeep, kContext); }), deed);
  }
  for (const char* deed : {"..", "a/b", "", "parts"}) {
    ExpectCrash(Try([&](Tree& tree) { return tree.List(deed, kContext); }), deed);
  }
  EXPECT_TRUE(IsOk(Try([&](Tree& tree) { return tree.List("good", kContext); })));
  ExpectCrash(Try([&](Tree& tree) { return tree.ReadSymlink("", kContext); }), "a link's target");
  ExpectCrash(Try([&](Tree& tree) -> Result<std::vector<WalkEntry>> {
                return tree.StartWalk("/", WalkDetail::kStat, kContext).value()->Next(10, kContext);
              }),
              "a walk");
}

TEST_F(ProbedTreeTest, ContentThatLiesElsewhereIsNonsense) {
  for (const char* deed :
       {"silence", "more than asked for", "below", "beyond", "far beyond", "nothing", "backwards", "another size"}) {
    ExpectCrash(Try([&](Tree& tree) { return tree.ReadFile(deed, 4096, 4096, kContext); }), deed);
  }
  EXPECT_TRUE(IsOk(Try([&](Tree& tree) { return tree.ReadFile("good", 4096, 4096, kContext); })));
}

TEST_F(ProbedTreeTest, ABusyHelperIsEndedAfterItsShareOfEachCall) {
  options_.limits.cpu_seconds = 1;
  const Status status = Try([](Tree& tree) { return tree.Stat("hang", LastLink::kKeep, kContext); });
  ExpectCrash(status, "hang");
  EXPECT_NE(status.failure().detail.find("processor time"), std::string::npos) << status.failure().detail;
}

TEST_F(ProbedTreeTest, AHelperThatHangsHoldsUpNeitherAStopNorTheEnd) {
  for (const bool writable : {false, true}) {
    const auto tree = Open(device_, writable);
    std::stop_source stop;
    std::jthread stopper([&] {
      std::this_thread::sleep_for(milliseconds(50));
      stop.request_stop();
    });
    const auto stat = tree->Stat("hang", LastLink::kKeep, {.stop = stop.get_token()});
    ASSERT_FALSE(stat.ok());
    EXPECT_EQ(stat.status().failure().kind, StatusKind::kCancelled);
    const Status closed = tree->Close(kContext);
    // What was written might have been lost.
    EXPECT_EQ(closed.ok(), !writable);
    if (writable) {
      EXPECT_EQ(closed.failure().kind, StatusKind::kEngineCrashed);
    }
  }
}

TEST_F(ProbedTreeTest, WhatAHelperWritesIsKeptFromTheDeviceUntilItIsFlushed) {
  const std::string before = ReadAll(*device_);
  {
    const auto tree = Open(device_, true);
    EXPECT_EQ(tree->Stat("write", LastLink::kKeep, kContext)->size_bytes, 1u);
  }
  EXPECT_TRUE(ReadAll(*device_) == before);
}

}  // namespace
}  // namespace rootloom::testing
