// Cuts of overlays that are written on: what is in them, what sealing them gives, and what becomes of the overlay.
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <deque>
#include <thread>

#include "native/block/faulty_device.h"
#include "native/block/memory_device.h"
#include "test/native/chain/seal_fixture.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kPage = kPageBytes;

class CutTest : public ::testing::Test {
 protected:
  explicit CutTest() : history_(64 * kPage) {}

  std::shared_ptr<OverlayCut> Cut(OverlayDevice& overlay) {
    return overlay.Cut(history_.folder().File("next upper")).value();
  }

  History history_;
};

void Write(Device& device, Bytes& content, uint64_t offset, const Bytes& data) {
  ASSERT_TRUE(IsOk(device.Write(offset, data)));
  Put(content, offset, data);
}

TEST_F(CutTest, HoldsWhatWasWrittenBeforeAndNothingElse) {
  Random random(80);
  const auto overlay = history_.Overlay();
  Bytes before(64 * kPage);
  Write(*overlay, before, 3 * kPage + 5, random.Bytes(9 * kPage));
  const auto cut = Cut(*overlay);
  EXPECT_TRUE(Holds(*overlay, before)) << "a cut changes nothing for who uses the overlay";
  EXPECT_EQ(overlay->Stats().data_blocks, 0u);
  Bytes after = before;
  Write(*overlay, after, 4 * kPage + 1, random.Bytes(2 * kPage));  // Parts of blocks come from the cut.
  ASSERT_TRUE(IsOk(overlay->Zero({8 * kPage, kPage})));
  std::fill_n(after.begin() + 8 * kPage, kPage, std::byte{0});
  EXPECT_TRUE(Holds(*cut, before));
  EXPECT_TRUE(Holds(*overlay, after));
  EXPECT_FALSE(cut->writable());
  EXPECT_TRUE(FailedWith(cut->Write(0, Bytes(1)), EROFS));
}

TEST_F(CutTest, SeveralAreSealedInTurnEachAsTheParentOfTheNext) {
  Random random(81);
  const auto overlay = history_.Overlay();
  Bytes content(64 * kPage);
  std::vector<std::pair<std::shared_ptr<OverlayCut>, Bytes>> cuts;
  for (int round = 0; round < 3; ++round) {
    Write(*overlay, content, random.Below(40 * kPage), random.Bytes(1 + random.Below(20 * kPage)));
    cuts.emplace_back(Cut(*overlay), content);
  }
  Write(*overlay, content, 0, random.Bytes(kPage));
  for (const auto& [cut, held] : cuts) {
    ASSERT_TRUE(IsOk(history_.SealCut(*cut)));
    EXPECT_TRUE(Holds(*history_.Open(), held));
  }
  ASSERT_TRUE(IsOk(history_.Seal(*overlay)));
  EXPECT_TRUE(Holds(*history_.Open(), content));
  EXPECT_EQ(history_.Newest().generation, 3u);
}

TEST_F(CutTest, KeepsItsSizeWhenTheOverlayIsResized) {
  Random random(82);
  const auto overlay = history_.Overlay();
  Bytes before(64 * kPage);
  Write(*overlay, before, 0, random.Bytes(64 * kPage));
  const auto cut = Cut(*overlay);
  ASSERT_TRUE(IsOk(overlay->Resize(20 * kPage + 8)));
  ASSERT_TRUE(IsOk(overlay->Resize(80 * kPage)));
  Bytes after(before.begin(), before.begin() + 20 * kPage + 8);
  after.resize(80 * kPage);
  EXPECT_TRUE(Holds(*cut, before));
  EXPECT_TRUE(Holds(*overlay, after)) << "what was cut off does not come back";
  ASSERT_TRUE(IsOk(history_.SealCut(*cut)));
  EXPECT_TRUE(Holds(*history_.Open(), before));
  ASSERT_TRUE(IsOk(history_.Seal(*overlay)));
  EXPECT_TRUE(Holds(*history_.Open(), after));
}

TEST_F(CutTest, GivesItsDataBackWhenItIsSettled) {
  Random random(83);
  auto overlay = history_.Overlay();
  Bytes content(64 * kPage);
  Write(*overlay, content, 0, random.Bytes(30 * kPage));
  const auto cut = Cut(*overlay);
  const std::weak_ptr<Upper> upper = cut->view().upper;
  ASSERT_TRUE(IsOk(history_.SealCut(*cut)));
  EXPECT_EQ(KindOf(cut->Settle(MemoryDevice::Create(kPage).value())), StatusKind::kInvalidArgument);
  EXPECT_FALSE(upper.expired());
  ASSERT_TRUE(IsOk(cut->Settle(history_.Open())));
  EXPECT_TRUE(upper.expired());
  EXPECT_TRUE(Holds(*overlay, content));
  EXPECT_TRUE(Holds(*cut, content));
  EXPECT_TRUE(IsOk(cut->Flush()));
  EXPECT_EQ(KindOf(cut->Settle(history_.Open())), StatusKind::kInvalidArgument);
  EXPECT_EQ(KindOf(history_.SealCut(*cut).status()), StatusKind::kInvalidArgument);
  // A parent that is not what the cut was sealed as is refused, though only what it was settled on tells.
  Write(*overlay, content, kPage, random.Bytes(kPage));
  Header other = history_.Newest();
  other.build = NumberedBuild(77);
  EXPECT_EQ(KindOf(SealOverlay(*overlay, &other, history_.Target(), {}).status()), StatusKind::kInvalidArgument);
  ASSERT_TRUE(IsOk(history_.Seal(*overlay)));
  EXPECT_TRUE(Holds(*history_.Open(), content));
}

TEST_F(CutTest, OutlivesItsOverlay) {
  auto overlay = history_.Overlay();
  Bytes content(64 * kPage);
  Write(*overlay, content, kPage, Random(84).Bytes(kPage));
  const auto cut = Cut(*overlay);
  overlay.reset();
  ASSERT_TRUE(IsOk(history_.SealCut(*cut)));
  EXPECT_TRUE(Holds(*history_.Open(), content));
}

TEST_F(CutTest, IsRefusedWhenAnythingWrittenMayBeMissing) {
  const auto faulty = std::make_shared<FaultyDevice>(history_.Open());
  const auto overlay =
      OverlayDevice::Create(faulty, history_.folder().File("upper"), faulty->size_bytes(), kPage).value();
  faulty->Arm({.kind = OperationKind::kRead, .error_number = ETIMEDOUT});
  EXPECT_TRUE(FailedWith(overlay->Write(1, Bytes(5, std::byte{1})), ETIMEDOUT));
  EXPECT_TRUE(FailedWith(overlay->Cut(history_.folder().File("next")), ETIMEDOUT));
  EXPECT_TRUE(IsOk(overlay->Write(kPage, Bytes(kPage, std::byte{1})))) << "the overlay goes on";
  EXPECT_TRUE(overlay->writable());
  EXPECT_TRUE(FailedWith(overlay->Cut(history_.folder().File("next")), ETIMEDOUT)) << "and is not forgiven";
}

TEST_F(CutTest, IsRefusedWhenFrozenOrWhenTheUpperCannotBeMade) {
  const auto overlay = history_.Overlay();
  WriteWhole(history_.folder().File("there"), Bytes(3));
  EXPECT_TRUE(FailedWith(overlay->Cut(history_.folder().File("there")), EEXIST));
  EXPECT_TRUE(FailedWith(overlay->Cut(history_.folder().File("no/folder")), ENOENT));
  EXPECT_TRUE(IsOk(overlay->Write(0, Bytes(kPage, std::byte{1}))));
  ASSERT_TRUE(IsOk(overlay->Freeze()));
  EXPECT_TRUE(FailedWith(overlay->Cut(history_.folder().File("next")), EROFS));
  EXPECT_EQ(overlay->Stats().data_blocks, 1u);
}

TEST_F(CutTest, MayBeSealedAgainAndBySeveralAtOnce) {
  const auto overlay = history_.Overlay();
  Bytes content(64 * kPage);
  Write(*overlay, content, 0, Random(85).Bytes(64 * kPage));
  const auto cut = Cut(*overlay);
  std::stop_source stop;
  stop.request_stop();
  const SealTarget target = history_.Target();
  EXPECT_EQ(KindOf(SealCut(*cut, nullptr, target, {.stop = stop.get_token()}).status()), StatusKind::kCancelled);
  EXPECT_FALSE(std::filesystem::exists(target.diff_path));
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      const std::string name = history_.folder().File("twin" + std::to_string(i));
      const SealTarget twin{.build = target.build, .diff_path = name, .header_path = name + ".header"};
      EXPECT_TRUE(IsOk(SealCut(*cut, nullptr, twin, {})));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const char* const suffix : {"", ".header"}) {
    const Bytes first = ReadWhole(history_.folder().File(std::string("twin0") + suffix));
    EXPECT_EQ(ReadWhole(history_.folder().File(std::string("twin1") + suffix)), first);
    EXPECT_EQ(ReadWhole(history_.folder().File(std::string("twin2") + suffix)), first);
  }
}

// ---- Writers that do not stop ----

// Each block has one writer, which changes it again and again; what a block holds after its n-th change can be told
// from n alone. Block contents are compared with what the writer had done before the cut, and begun after it.
class Writers {
 public:
  static constexpr uint64_t kBlocks = 48;
  static constexpr uint64_t kThreads = 3;

  explicit Writers(OverlayDevice& overlay) : overlay_(overlay) {
    for (uint64_t thread = 0; thread < kThreads; ++thread) {
      threads_.emplace_back([this, thread] {
        Random random(90 + thread);
        while (!stop_) Change(thread + kThreads * random.Below(kBlocks / kThreads));
      });
    }
  }
  ~Writers() { Stop(); }

  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  using Counts = std::array<uint64_t, kBlocks>;
  Counts Done() const { return Read(done_); }
  Counts Begun() const { return Read(begun_); }

  static void ExpectBetween(const Bytes& content, const Counts& least, const Counts& most) {
    for (uint64_t block = 0; block < kBlocks; ++block) {
      const Bytes held(content.begin() + static_cast<ptrdiff_t>(block * kPage),
                       content.begin() + static_cast<ptrdiff_t>((block + 1) * kPage));
      bool found = false;
      for (uint64_t change = least[block]; change <= most[block] && !found; ++change) {
        found = held == ContentAfter(block, change);
      }
      ASSERT_TRUE(found) << "block " << block << " after " << least[block] << " to " << most[block] << " changes";
    }
  }

 private:
  using Atomics = std::array<std::atomic<uint64_t>, kBlocks>;

  static Counts Read(const Atomics& counts) {
    Counts values;
    for (uint64_t block = 0; block < kBlocks; ++block) values[block] = counts[block].load();
    return values;
  }

  // Changes 0 (which is how it begins), 5, 10, … zero the block, 4, 9, … write a part of it, the others all of it.
  static Bytes ContentAfter(uint64_t block, uint64_t change) {
    const uint64_t whole = change % 5 == 4 ? change - 1 : change;
    Bytes content(kPage);
    if (whole % 5 != 0) std::fill(content.begin(), content.end(), ByteOf(block, whole));
    if (change != whole) std::fill_n(content.begin() + 500, 100, ByteOf(block, change));
    return content;
  }
  static std::byte ByteOf(uint64_t block, uint64_t change) {
    return static_cast<std::byte>(1 + (block * 31 + change) % 255);
  }

  void Change(uint64_t block) {
    const uint64_t change = begun_[block].load() + 1;
    begun_[block].store(change);
    const uint64_t offset = block * kPage;
    if (change % 5 == 0) {
      ASSERT_TRUE(IsOk(overlay_.Zero({offset, kPage})));
    } else if (change % 5 == 4) {
      ASSERT_TRUE(IsOk(overlay_.Write(offset + 500, Bytes(100, ByteOf(block, change)))));
    } else {
      ASSERT_TRUE(IsOk(overlay_.Write(offset, Bytes(kPage, ByteOf(block, change)))));
    }
    done_[block].store(change);
  }

  OverlayDevice& overlay_;
  std::atomic<bool> stop_ = false;
  Atomics begun_{};
  Atomics done_{};
  std::vector<std::thread> threads_;
};

TEST_F(CutTest, OfAnOverlayUnderWritersHoldsEveryWriteThatHadReturned) {
  Random random(86);
  const auto overlay = history_.Overlay();
  Writers writers(*overlay);
  std::deque<std::pair<std::shared_ptr<OverlayCut>, Bytes>> outstanding;
  const auto seal_oldest = [&] {
    const auto& [cut, held] = outstanding.front();
    ASSERT_TRUE(IsOk(history_.SealCut(*cut, random.OneIn(2) ? std::optional(5U) : std::nullopt)));
    ASSERT_TRUE(Holds(*history_.Open(), held)) << "sealed";
    ASSERT_TRUE(Holds(*cut, held)) << "nothing changes a cut";
    if (!random.OneIn(3)) {
      ASSERT_TRUE(IsOk(cut->Settle(history_.Open())));
      ASSERT_TRUE(Holds(*cut, held)) << "settled";
    }
    outstanding.pop_front();
  };
  for (int round = 0; round < 25 && !HasFailure(); ++round) {
    if (random.OneIn(3)) {
      ASSERT_TRUE(IsOk(overlay->Resize((Writers::kBlocks + random.Below(30)) * kPage)));
    }
    if (random.OneIn(3)) {
      ASSERT_TRUE(IsOk(overlay->Flush()));
    }
    const Writers::Counts least = writers.Done();
    const auto cut = Cut(*overlay);
    const Writers::Counts most = writers.Begun();
    const Bytes held = ContentOf(*cut);
    ASSERT_NO_FATAL_FAILURE(Writers::ExpectBetween(held, least, most));
    outstanding.emplace_back(cut, held);
    if (outstanding.size() > 2) {
      ASSERT_NO_FATAL_FAILURE(seal_oldest());
    }
  }
  writers.Stop();
  while (!outstanding.empty()) ASSERT_NO_FATAL_FAILURE(seal_oldest());
  const Bytes last = ContentOf(*overlay);
  Writers::ExpectBetween(last, writers.Done(), writers.Done());
  ASSERT_TRUE(IsOk(history_.Seal(*overlay)));
  EXPECT_TRUE(Holds(*history_.Open(), last));
}

}  // namespace
}  // namespace rootloom::testing
