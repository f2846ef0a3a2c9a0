#include "native/chain/seal.h"

#include <sys/resource.h>

#include <cerrno>
#include <csignal>

#include "native/block/faulty_device.h"
#include "native/block/file_device.h"
#include "native/block/logging_device.h"
#include "test/native/chain/seal_fixture.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kPages = 32;
constexpr uint64_t kSize = kPages * kPageBytes;

uint64_t At(uint64_t page) { return page * kPageBytes; }

// A first build of kPages pages, all data.
void StartFull(History& history, std::optional<uint32_t> version = {}) {
  const Bytes data = Random(50).Bytes(kSize);
  history.Step([&](OverlayDevice& overlay) { ASSERT_TRUE(IsOk(overlay.Write(0, data))); }, data, version);
}

TEST(SealOverlay, MakesAFirstBuildThatStandsAlone) {
  History history(kSize);
  const Bytes data = Random(51).Bytes(2 * kPageBytes);
  Bytes content(kSize);
  Put(content, At(3), data);
  const SealReport report = history.Step(
      [&](OverlayDevice& overlay) {
        ASSERT_TRUE(IsOk(overlay.Write(At(3), data)));
        ASSERT_TRUE(IsOk(overlay.Zero({At(9), At(1)})));
      },
      content);
  EXPECT_EQ(report.size_bytes, kSize);
  EXPECT_EQ(report.diff_bytes, At(2));
  EXPECT_EQ(report.data_blocks, 2u);
  EXPECT_EQ(report.zero_blocks, kPages - 2);
  EXPECT_EQ(report.dropped_blocks, 0u);
  const Header header = history.Newest();
  EXPECT_EQ(header.version, 3u);
  EXPECT_EQ(header.generation, 0u);
  EXPECT_EQ(header.build, NumberedBuild(0));
  EXPECT_EQ(header.base_build, NumberedBuild(0));
  EXPECT_EQ(header.mappings, (std::vector<Mapping>{{0, 3, 0, kZeroSource}, {3, 2, 0, 0}, {5, 27, 0, kZeroSource}}));
}

TEST(SealOverlay, StoresWhatTheBaseHoldsWhenThereIsNoParent) {
  TempFolder folder;
  const auto base = MemoryDevice::Create(kSize).value();
  const Bytes data = Random(52).Bytes(kSize);
  ASSERT_TRUE(IsOk(base->Write(At(2), std::span(data).first(At(5)))));
  const auto overlay = OverlayDevice::Create(base, folder.File("upper"), kSize, kPageBytes).value();
  ASSERT_TRUE(IsOk(overlay->Write(At(4), std::span(data).first(At(1)))));
  Bytes content = ContentOf(*overlay);
  const SealTarget target{kBuildA, folder.File("diff"), folder.File("header"), {}};
  const auto report = SealOverlay(*overlay, nullptr, target, {});
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->diff_bytes, At(5));
  const Header header = DecodeHeader(ReadWhole(target.header_path)).value();
  const auto chain = ChainDevice::Open(header, [&](const Uuid&) { return target.diff_path; }).value();
  EXPECT_TRUE(Holds(*chain, content));
}

TEST(SealOverlay, StoresOnlyWhatAChildChanged) {
  History history(kSize);
  StartFull(history);
  Bytes content = history.content();
  const Bytes data = Random(53).Bytes(At(2));
  Put(content, At(5), data);
  Put(content, At(20), Bytes(At(3)));
  const SealReport report = history.Step(
      [&](OverlayDevice& overlay) {
        ASSERT_TRUE(IsOk(overlay.Write(At(5), data)));
        ASSERT_TRUE(IsOk(overlay.Zero({At(20), At(3)})));
      },
      content);
  EXPECT_EQ(report.diff_bytes, At(2));
  EXPECT_EQ(report.zero_blocks, 3u);
  const Header header = history.Newest();
  EXPECT_EQ(header.generation, 1u);
  EXPECT_EQ(header.base_build, NumberedBuild(0));
  EXPECT_EQ(header.sources, (std::vector<Uuid>{NumberedBuild(0), NumberedBuild(1)}));
  EXPECT_EQ(header.mappings,
            (std::vector<Mapping>{{0, 5, 0, 0}, {5, 2, 0, 1}, {7, 13, 7, 0}, {20, 3, 0, kZeroSource}, {23, 9, 23, 0}}));
}

// What is written by the gigabyte goes past the page cache in long rows, and through it in short ones.
TEST(SealOverlay, StoresALargeChildAsASmallOne) {
  constexpr uint64_t kLarge = 65 << 20;
  constexpr uint64_t kRow = 1 << 20;
  const TempFolder folder;
  const Header parent{.size_bytes = kLarge,
                      .build = kBuildB,
                      .base_build = kBuildB,
                      .mappings = {{.length_pages = static_cast<uint32_t>(PagesFor(kLarge))}}};
  const auto base = ZeroDevice::Create(kLarge).value();
  const auto overlay = OverlayDevice::Create(base, folder.File("upper"), kLarge, kPageBytes).value();
  ASSERT_TRUE(IsOk(overlay->Zero({0, kLarge})));
  const Bytes data = Random(59).Bytes(kRow + At(1));
  const uint64_t offsets[] = {3 * kRow + At(1), kLarge - kRow - At(1)};
  for (const uint64_t offset : offsets) ASSERT_TRUE(IsOk(overlay->Write(offset, data)));

  const SealTarget target{kBuildA, folder.File("diff"), folder.File("header"), {}, true};
  const auto report = SealOverlay(*overlay, &parent, target, {});
  ASSERT_TRUE(IsOk(report));
  ExpectSoundBuild(target, *report, kPageBytes);
  EXPECT_EQ(report->diff_bytes, 2 * data.size());
  EXPECT_EQ(report->zero_blocks, (kLarge - 2 * data.size()) / kPageBytes);
  const Header header = DecodeHeader(ReadWhole(target.header_path)).value();
  const auto chain = ChainDevice::Open(header, [&](const Uuid&) { return target.diff_path; }).value();
  for (const uint64_t offset : offsets) {
    Bytes held(data.size());
    ASSERT_TRUE(IsOk(chain->Read(offset, held)));
    EXPECT_EQ(held, data);
  }
}

TEST(SealOverlay, DropsBlocksThatEqualTheParents) {
  History history(kSize);
  StartFull(history);
  const Bytes content = history.content();
  const SealReport report = history.Step(
      [&](OverlayDevice& overlay) {
        ASSERT_TRUE(IsOk(overlay.Write(At(4), std::span(content).subspan(At(4), At(9)))));
      },
      content);
  EXPECT_EQ(report.dropped_blocks, 9u);
  EXPECT_EQ(report.data_blocks, 0u);
  EXPECT_EQ(report.diff_bytes, 0u);
  EXPECT_EQ(history.Newest().sources, std::vector<Uuid>{NumberedBuild(0)}) << "nothing is its own";
}

TEST(SealOverlay, TurnsDataThatBecameZeroIntoAZeroMapping) {
  History history(kSize);
  StartFull(history);
  Bytes content = history.content();
  Put(content, At(6), Bytes(At(1)));
  const SealReport report = history.Step(
      [&](OverlayDevice& overlay) {
        // By halves, so that the overlay cannot know.
        ASSERT_TRUE(IsOk(overlay.Write(At(6), Bytes(kPageBytes / 2))));
        ASSERT_TRUE(IsOk(overlay.Write(At(6) + kPageBytes / 2, Bytes(kPageBytes / 2))));
      },
      content);
  EXPECT_EQ(report.zero_blocks, 1u);
  EXPECT_EQ(report.diff_bytes, 0u);
}

TEST(SealOverlay, CoversAGrownTail) {
  History history(kSize);
  StartFull(history);
  Bytes content = history.content();
  content.resize(2 * kSize);
  const Bytes data = Random(54).Bytes(100);
  Put(content, kSize + At(7) + 5, data);
  const SealReport report = history.Step(
      [&](OverlayDevice& overlay) {
        ASSERT_TRUE(IsOk(overlay.Resize(2 * kSize)));
        ASSERT_TRUE(IsOk(overlay.Write(kSize + At(7) + 5, data)));
      },
      content);
  EXPECT_EQ(report.size_bytes, 2 * kSize);
  EXPECT_EQ(report.diff_bytes, At(1));
}

TEST(SealOverlay, CutsAShrunkTailAndDoesNotBringItBack) {
  History history(kSize);
  StartFull(history);
  Bytes content = history.content();
  content.resize(At(10));
  history.Step([](OverlayDevice& overlay) { ASSERT_TRUE(IsOk(overlay.Resize(At(10)))); }, content);
  EXPECT_EQ(history.Newest().mappings, (std::vector<Mapping>{{0, 10, 0, 0}}));
  content.resize(kSize);
  history.Step([](OverlayDevice& overlay) { ASSERT_TRUE(IsOk(overlay.Resize(kSize))); }, content);
  // And within one overlay.
  content.resize(At(4));
  content.resize(kSize);
  history.Step(
      [](OverlayDevice& overlay) {
        ASSERT_TRUE(IsOk(overlay.Resize(At(4))));
        ASSERT_TRUE(IsOk(overlay.Resize(kSize)));
      },
      content);
}

TEST(SealOverlay, InheritsTheVersionOfAFramedParent) {
  History history(kSize);
  StartFull(history, 5);
  const auto change = [&](uint64_t page) {
    return
        [page](OverlayDevice& overlay) { ASSERT_TRUE(IsOk(overlay.Write(At(page), Bytes(kPageBytes, std::byte{9})))); };
  };
  Bytes content = history.content();
  Put(content, At(1), Bytes(kPageBytes, std::byte{9}));
  history.Step(change(1), content);
  Header header = history.Newest();
  EXPECT_EQ(header.version, 5u);
  ASSERT_EQ(header.builds.size(), 2u);
  EXPECT_EQ(header.builds[0].size_bytes, kSize);
  EXPECT_EQ(header.builds[1].size_bytes, At(1));
  Put(content, At(2), Bytes(kPageBytes, std::byte{9}));
  history.Step(change(2), content, 4);
  EXPECT_EQ(history.Newest().version, 4u);
  Put(content, At(3), Bytes(kPageBytes, std::byte{9}));
  history.Step(change(3), content, 3);
  EXPECT_EQ(history.Newest().version, 3u);
  Put(content, At(4), Bytes(kPageBytes, std::byte{9}));
  history.Step(change(4), content, 4);
  EXPECT_EQ(history.Newest().builds.size(), 5u) << "every build that a V3 parent refers to is uncompressed";
}

TEST(SealOverlay, InheritsFrameTablesOfCompressedAncestorsTrimmed) {
  History history(kSize);
  StartFull(history, 4);
  history.Compress(Compression::kZstd, At(4));
  Bytes content = history.content();
  const Bytes data = Random(55).Bytes(At(9));
  Put(content, At(3), data);
  history.Step([&](OverlayDevice& overlay) { ASSERT_TRUE(IsOk(overlay.Write(At(3), data))); }, content);
  const Header header = history.Newest();
  // Pages 4 to 11, which are frames 1 and 2, are no longer needed.
  EXPECT_EQ(header.builds[0].table.frames.size(), kPages / 4 - 2);

  const auto overlay = history.Overlay();
  EXPECT_EQ(KindOf(history.Seal(*overlay, 3).status()), StatusKind::kInvalidArgument) << "V3 cannot say compressed";
}

TEST(SealOverlay, KeepsTheBlockSizeOfItsParent) {
  TempFolder folder;
  const auto memory = MemoryDevice::Create(4 << 20).value();
  ASSERT_TRUE(IsOk(memory->Write(5000, Random(56).Bytes(100'000))));
  const SealTarget first{kBuildA, folder.File("diff-a"), folder.File("header-a"), {}};
  ASSERT_TRUE(IsOk(SealDevice(*memory, 2 << 20, first, {})));
  const Header parent = DecodeHeader(ReadWhole(first.header_path)).value();
  EXPECT_EQ(parent.block_size, 2u << 20);
  const auto chain = ChainDevice::Open(parent, [&](const Uuid&) { return first.diff_path; }).value();
  const auto overlay = OverlayDevice::Create(chain, folder.File("upper"), 4 << 20, kPageBytes).value();
  ASSERT_TRUE(IsOk(overlay->Write(3 << 20, Bytes(1, std::byte{1}))));
  const SealTarget second{kBuildB, folder.File("diff-b"), folder.File("header-b"), {}};
  const auto report = SealOverlay(*overlay, &parent, second, {});
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->diff_bytes, kPageBytes);
  EXPECT_EQ(DecodeHeader(ReadWhole(second.header_path))->block_size, 2u << 20);
}

TEST(SealOverlay, FreezesForGood) {
  History history(kSize);
  StartFull(history);
  const auto overlay = history.Overlay();
  ASSERT_TRUE(IsOk(overlay->Write(0, Bytes(10, std::byte{1}))));
  ASSERT_TRUE(IsOk(history.Seal(*overlay)));
  EXPECT_TRUE(FailedWith(overlay->Write(0, Bytes(10, std::byte{2})), EROFS));
}

// Everything that a seal refuses, and that it leaves no file behind.
class SealRefusal : public ::testing::Test {
 protected:
  void SetUp() override {
    StartFull(history_);
    parent_ = history_.Newest();
    target_ = history_.Target();
    files_before_ = CountFiles();
  }
  void ExpectRefused(OverlayDevice& overlay, StatusKind kind = StatusKind::kInvalidArgument,
                     const CallContext& context = {}) {
    const auto report = SealOverlay(overlay, &parent_, target_, context);
    EXPECT_EQ(KindOf(report.status()), kind);
    EXPECT_EQ(CountFiles(), files_before_);
  }
  ptrdiff_t CountFiles() const {
    return std::distance(std::filesystem::directory_iterator(history_.folder().path()), {});
  }

  History history_{kSize};
  Header parent_;
  SealTarget target_;
  ptrdiff_t files_before_ = 0;
};

TEST_F(SealRefusal, ANilBuild) {
  target_.build = Uuid();
  ExpectRefused(*history_.Overlay());
}

TEST_F(SealRefusal, ABuildOfTheChain) {
  target_.build = NumberedBuild(0);
  ExpectRefused(*history_.Overlay());
}

TEST_F(SealRefusal, AnUnknownVersion) {
  for (const uint32_t version : {0, 2, 6}) {
    target_.version = version;
    ExpectRefused(*history_.Overlay());
  }
}

TEST_F(SealRefusal, AnotherBuildsHeaderAsParent) {
  parent_.build = kBuildB;
  ExpectRefused(*history_.Overlay());
}

TEST_F(SealRefusal, AParentOfAnotherSize) {
  parent_.size_bytes -= kPageBytes;
  ExpectRefused(*history_.Overlay());
}

TEST_F(SealRefusal, AnIncompleteParent) {
  parent_.incomplete = true;
  ExpectRefused(*history_.Overlay());
}

TEST_F(SealRefusal, ADeviceThatIsNotWholePages) {
  const auto overlay = history_.Overlay();
  ASSERT_TRUE(IsOk(overlay->Resize(kSize - 1)));
  ExpectRefused(*overlay);
}

TEST_F(SealRefusal, BlocksBelowAPage) { ExpectRefused(*history_.Overlay(512)); }

TEST_F(SealRefusal, ACancelledCall) {
  std::stop_source stop;
  stop.request_stop();
  ExpectRefused(*history_.Overlay(), StatusKind::kCancelled, {.stop = stop.get_token()});
}

TEST_F(SealRefusal, ACallCancelledHalfWay) {
  const auto overlay = history_.Overlay();
  ASSERT_TRUE(IsOk(overlay->Write(0, Random(57).Bytes(kSize))));
  std::stop_source stop;
  CallContext context{.stop = stop.get_token()};
  context.report = [&](const Progress&) { stop.request_stop(); };
  ExpectRefused(*overlay, StatusKind::kCancelled, context);
  EXPECT_TRUE(IsOk(history_.Seal(*overlay))) << "it may be sealed again";
}

TEST_F(SealRefusal, ABaseThatCannotBeRead) {
  const auto faulty = std::make_shared<FaultyDevice>(history_.Open());
  const auto overlay = OverlayDevice::Create(faulty, history_.folder().File("upper"), kSize, kPageBytes).value();
  ASSERT_TRUE(IsOk(overlay->Write(At(3), Random(58).Bytes(At(4)))));
  faulty->Arm({.kind = OperationKind::kRead, .error_number = EIO});
  ExpectRefused(*overlay, StatusKind::kIo);
}

TEST_F(SealRefusal, FilesThatExistAlready) {
  WriteWhole(target_.diff_path, Bytes(3));
  const auto overlay = history_.Overlay();
  EXPECT_TRUE(FailedWith(SealOverlay(*overlay, &parent_, target_, {}), EEXIST));
  EXPECT_EQ(ReadWhole(target_.diff_path).size(), 3u);
  std::filesystem::remove(target_.diff_path);
  WriteWhole(target_.header_path, Bytes(3));
  EXPECT_TRUE(FailedWith(SealOverlay(*overlay, &parent_, target_, {}), EEXIST));
  EXPECT_EQ(ReadWhole(target_.header_path).size(), 3u);
  EXPECT_FALSE(std::filesystem::exists(target_.diff_path));
}

TEST_F(SealRefusal, AFolderThatIsNone) {
  target_.diff_path = history_.folder().File("none/diff");
  ExpectRefused(*history_.Overlay(), StatusKind::kNotFound);
  target_ = history_.Target();
  target_.header_path = history_.folder().File("none/header");
  ExpectRefused(*history_.Overlay(), StatusKind::kNotFound);
}

// A file size limit stops a write half-way, as a full filesystem does.
TEST_F(SealRefusal, AWriteThatFailsHalfWay) {
  const auto overlay = history_.Overlay();
  ASSERT_TRUE(IsOk(overlay->Write(0, Random(61).Bytes(kSize))));
  ASSERT_TRUE(IsOk(overlay->Freeze()));
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit limit{10'000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto report = SealOverlay(*overlay, &parent_, target_, {});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_TRUE(FailedWith(report, EFBIG));
  EXPECT_EQ(CountFiles(), files_before_);
  EXPECT_TRUE(IsOk(history_.Seal(*overlay))) << "it may be sealed again";
}

TEST(SealDevice, StoresTheDataOfASparseFileAndNothingElse) {
  TempFolder folder;
  constexpr uint64_t kFileBytes = 64 << 20;
  const auto file =
      FileDevice::Open(folder.File("memory"), {.writable = true, .create_size_bytes = kFileBytes}).value();
  const Bytes data = Random(59).Bytes(300'000);
  ASSERT_TRUE(IsOk(file->Write(10'000'000, data)));
  ASSERT_TRUE(IsOk(file->Write(40'000'000, Bytes(2'000'000)))) << "zeros that are stored";
  ASSERT_TRUE(IsOk(file->Write(kFileBytes - 1, std::span(data).first(1))));
  const SealTarget target{kBuildA, folder.File("diff"), folder.File("header"), {}};
  uint64_t done = 0;
  CallContext context;
  context.report = [&](const Progress& progress) {
    EXPECT_GE(progress.done, done);
    EXPECT_EQ(progress.total, kFileBytes);
    done = progress.done;
  };
  const auto report = SealDevice(*file, kPageBytes, target, context);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(done, kFileBytes);
  EXPECT_EQ(report->size_bytes, kFileBytes);
  EXPECT_EQ(report->data_blocks, 75u);  // 300000 bytes from 10000000 touch 74 pages.
  EXPECT_EQ(report->diff_bytes, 75u * kPageBytes);
  EXPECT_EQ(report->zero_blocks, kFileBytes / kPageBytes - 75);
  ExpectSoundBuild(target, *report);
  const Header header = DecodeHeader(ReadWhole(target.header_path)).value();
  EXPECT_EQ(header.generation, 0u);
  const auto chain = ChainDevice::Open(header, [&](const Uuid&) { return target.diff_path; }).value();
  EXPECT_TRUE(Holds(*chain, ContentOf(*file)));
}

TEST(SealDevice, LeavesOutZerosByItsBlockSize) {
  TempFolder folder;
  const auto memory = MemoryDevice::Create(1 << 20).value();
  ASSERT_TRUE(IsOk(memory->Write(100'000, Bytes(1, std::byte{1}))));
  const SealTarget target{kBuildA, folder.File("diff"), folder.File("header"), 5};
  const auto report = SealDevice(*memory, 65536, target, {});
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->diff_bytes, 65536u);
  EXPECT_EQ(report->zero_blocks, 15u);
  const Header header = DecodeHeader(ReadWhole(target.header_path)).value();
  EXPECT_EQ(header.version, 5u);
  EXPECT_EQ(header.mappings,
            (std::vector<Mapping>{{0, 16, 0, kZeroSource}, {16, 16, 0, 0}, {32, 224, 0, kZeroSource}}));
}

TEST(SealDevice, RefusesABlockSizeThatNoHeaderHasBeforeItReads) {
  TempFolder folder;
  auto logging = std::make_shared<LoggingDevice>(MemoryDevice::Create(1 << 20).value());
  const auto report = SealDevice(*logging, 1U << 31, {kBuildA, folder.File("diff"), folder.File("header"), {}}, {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().failure().kind, StatusKind::kInvalidArgument);
  EXPECT_EQ(logging->CountOf(OperationKind::kExtents).calls, 0u);
}

TEST(SealDevice, RefusesADeviceThatCannotBeReadAndLeavesNothing) {
  TempFolder folder;
  const auto memory = MemoryDevice::Create(8 << 20).value();
  ASSERT_TRUE(IsOk(memory->Write(0, Random(60).Bytes(8 << 20))));
  FaultyDevice faulty(memory);
  faulty.Arm({.kind = OperationKind::kRead, .skip = 3, .error_number = EIO});
  const SealTarget target{kBuildA, folder.File("diff"), folder.File("header"), {}};
  EXPECT_TRUE(FailedWith(SealDevice(faulty, kPageBytes, target, {}), EIO));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace rootloom::testing
