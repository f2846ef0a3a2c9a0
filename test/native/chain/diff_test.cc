// One stored diff, plain and compressed, whole and damaged; and the cache of its frames.
#include "native/chain/diff.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "native/block/device.h"
#include "test/native/chain/compress.h"

namespace rootloom::testing {
namespace {

constexpr size_t kDiffBytes = 300'000;
constexpr size_t kFrameBytes = 32'768;

class DiffTest : public ::testing::TestWithParam<Compression> {
 protected:
  void SetUp() override {
    Random random(20);
    // Half random, half repetitive, so that frames shrink by different amounts.
    content_ = random.Bytes(kDiffBytes);
    for (size_t i = 0; i < kDiffBytes; i += 2) content_[i] = std::byte{7};
    if (GetParam() == Compression::kNone) {
      stored_ = content_;
    } else {
      CompressedDiff compressed = CompressDiff(content_, GetParam(), kFrameBytes);
      stored_ = std::move(compressed.stored);
      data_.table = std::move(compressed.table);
    }
    WriteWhole(path_, stored_);
  }

  std::unique_ptr<Diff> Make() {
    return std::make_unique<Diff>(Diff::Source{.path = path_, .data = data_, .cache_key = 0, .cache = &cache_});
  }

  Status ReadAndCompare(Diff& diff, Range range) {
    Bytes bytes(range.length_bytes);
    Status status = diff.Read(range.offset_bytes, bytes);
    EXPECT_TRUE(!status.ok() || std::memcmp(bytes.data(), content_.data() + range.offset_bytes, bytes.size()) == 0);
    return status;
  }

  TempFolder folder_;
  const std::string path_ = folder_.File("diff");
  Bytes content_;
  Bytes stored_;
  BuildData data_{.build = kBuildA};
  FrameCache cache_{3 * kFrameBytes};
};

TEST_P(DiffTest, ReadsAnyRange) {
  const auto diff = Make();
  Random random(21);
  EXPECT_TRUE(IsOk(ReadAndCompare(*diff, {0, kDiffBytes})));
  for (int i = 0; i < 300; ++i) {
    const uint64_t offset = random.Below(kDiffBytes);
    EXPECT_TRUE(IsOk(ReadAndCompare(*diff, {offset, 1 + random.Below(kDiffBytes - offset)})));
  }
}

// Whose file it is not may not ask the kernel to leave its access time alone.
TEST_P(DiffTest, ReadsWhatBelongsToSomebodyElse) {
  constexpr uid_t kNobody = 65534;
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  EXPECT_EXIT(
      {
        if (::setresuid(kNobody, kNobody, kNobody) != 0) std::_Exit(2);
        std::_Exit(ReadAndCompare(*Make(), {1000, 5000}).ok() ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "")
      << "these tests need root";
}

TEST_P(DiffTest, ReadsFromManyThreads) {
  const auto diff = Make();
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      Random random(30 + thread);
      for (int i = 0; i < 200; ++i) {
        EXPECT_TRUE(IsOk(ReadAndCompare(*diff, {random.Below(kDiffBytes - 5000), 5000})));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(DiffTest, NamesTheBuildWhenTheFileIsMissing) {
  const auto diff = Make();
  std::filesystem::remove(path_);
  const Status status = ReadAndCompare(*diff, {0, 10});
  EXPECT_EQ(KindOf(status), StatusKind::kNotFound);
  EXPECT_EQ(status.failure().path, path_);
  EXPECT_EQ(status.failure().error_number, ENOENT);
  EXPECT_NE(status.failure().detail.find(kBuildA.ToText()), std::string::npos);
  // The next read tries again.
  WriteWhole(path_, stored_);
  EXPECT_TRUE(IsOk(ReadAndCompare(*diff, {0, 10})));
}

TEST_P(DiffTest, OpensTheFileOnce) {
  const auto diff = Make();
  ASSERT_TRUE(IsOk(ReadAndCompare(*diff, {0, 10})));
  std::filesystem::remove(path_);
  EXPECT_TRUE(IsOk(ReadAndCompare(*diff, {kDiffBytes - 10, 10})));
}

TEST_P(DiffTest, SaysWhereATruncatedFileEnds) {
  const auto diff = Make();
  const size_t kept = stored_.size() - 100;
  WriteWhole(path_, std::span(stored_).first(kept));
  EXPECT_TRUE(IsOk(ReadAndCompare(*diff, {0, kFrameBytes})));
  const Status status = ReadAndCompare(*diff, {kDiffBytes - 10, 10});
  EXPECT_EQ(KindOf(status), StatusKind::kCorrupt);
  EXPECT_EQ(status.failure().offset_bytes, kept);
  EXPECT_EQ(status.failure().path, path_);
  EXPECT_EQ(status.failure().error_number, EIO);
}

std::string CompressionName(const ::testing::TestParamInfo<Compression>& info) {
  const char* const names[] = {"Plain", "Zstd", "Lz4"};
  return names[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Diffs, DiffTest, ::testing::Values(Compression::kNone, Compression::kZstd, Compression::kLz4),
                         CompressionName);

class CompressedDiffTest : public DiffTest {};

TEST_P(CompressedDiffTest, FindsEveryFlippedByteOfAFrame) {
  const Frame frame = data_.table.frames[2];
  Random random(22);
  for (int i = 0; i < 100; ++i) {
    Bytes bad = stored_;
    bad[frame.stored_start_bytes + random.Below(frame.stored_size_bytes)] ^=
        static_cast<std::byte>(1 + random.Below(255));
    WriteWhole(path_, bad);
    FrameCache cache(1 << 20);
    Diff diff({.path = path_, .data = data_, .cache_key = 0, .cache = &cache});
    Bytes bytes(frame.size_bytes);
    const Status status = diff.Read(frame.start_bytes, bytes);
    // A flip that only changes how the same content is packed, or a frame's optional fields, is no damage to the data.
    if (status.ok()) {
      EXPECT_EQ(std::memcmp(bytes.data(), content_.data() + frame.start_bytes, bytes.size()), 0);
    } else {
      EXPECT_EQ(KindOf(status), StatusKind::kCorrupt);
      EXPECT_EQ(status.failure().offset_bytes, frame.stored_start_bytes);
    }
    EXPECT_TRUE(IsOk(diff.Read(0, std::span(bytes).first(10)))) << "other frames stay readable";
  }
}

TEST_P(CompressedDiffTest, RefusesFramesOfAnotherSizeThanTheTableSays) {
  for (const int change : {-1, 1}) {
    BuildData lie{.build = kBuildA, .table = {data_.table.compression, {data_.table.frames[0]}}};
    lie.table.frames[0].size_bytes += static_cast<uint32_t>(change);
    FrameCache cache(1 << 20);
    Diff diff({.path = path_, .data = lie, .cache_key = 0, .cache = &cache});
    Bytes bytes(10);
    EXPECT_EQ(KindOf(diff.Read(0, bytes)), StatusKind::kCorrupt) << change;
  }
}

TEST_P(CompressedDiffTest, SaysWhichBytesNoFrameHolds) {
  data_.table.frames.erase(data_.table.frames.begin() + 1);
  data_.table.frames.pop_back();
  const auto diff = Make();
  EXPECT_TRUE(IsOk(ReadAndCompare(*diff, {2 * kFrameBytes, kFrameBytes})));
  EXPECT_EQ(KindOf(ReadAndCompare(*diff, {kFrameBytes - 1, 2})), StatusKind::kCorrupt);
  EXPECT_EQ(KindOf(ReadAndCompare(*diff, {kDiffBytes - 1, 1})), StatusKind::kCorrupt);
}

TEST_P(CompressedDiffTest, DoesNotAllocateForAnAbsurdFrame) {
  data_.table.frames = {{0, 0, INT32_MAX, 100}};
  EXPECT_EQ(KindOf(ReadAndCompare(*Make(), {0, 10})), StatusKind::kUnsupported);
}

INSTANTIATE_TEST_SUITE_P(Diffs, CompressedDiffTest, ::testing::Values(Compression::kZstd, Compression::kLz4),
                         CompressionName);

TEST(FrameCache, KeepsWhatWasUsedLastAndLoadsEachFrameOnce) {
  FrameCache cache(200);
  std::vector<uint32_t> loaded;
  const auto get = [&](uint32_t frame) {
    const auto data = cache.Get({0, frame}, 100, [&](std::span<std::byte> target) {
      loaded.push_back(frame);
      std::fill(target.begin(), target.end(), static_cast<std::byte>(frame));
      return Status::Ok();
    });
    return data.value();
  };
  get(1), get(2), get(1), get(3), get(1), get(2);
  EXPECT_EQ(loaded, (std::vector<uint32_t>{1, 2, 3, 2}));
  const auto held = get(1);
  get(4), get(5);
  EXPECT_EQ((*held)[99], std::byte{1}) << "evicted, but still held";
}

TEST(FrameCache, ForgetsFailures) {
  FrameCache cache(200);
  const auto fail = [](std::span<std::byte>) { return Status::Corrupt("load", "no"); };
  EXPECT_EQ(KindOf(cache.Get({0, 1}, 100, fail).status()), StatusKind::kCorrupt);
  EXPECT_TRUE(IsOk(cache.Get({0, 1}, 100, [](std::span<std::byte>) { return Status::Ok(); })));
}

TEST(FrameCache, LetsManyThreadsWaitForOneLoad) {
  FrameCache cache(1000);
  std::atomic<int> loads = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&] {
      for (uint32_t frame = 0; frame < 8; ++frame) {
        const auto data = cache.Get({0, frame}, 100, [&](std::span<std::byte> target) {
          ++loads;
          std::fill(target.begin(), target.end(), static_cast<std::byte>(frame));
          return Status::Ok();
        });
        EXPECT_EQ((*data.value())[50], static_cast<std::byte>(frame));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(loads, 8);
}

}  // namespace
}  // namespace rootloom::testing
