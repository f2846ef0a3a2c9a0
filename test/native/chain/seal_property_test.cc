// Random histories against a byte array: overlays with random writes, zeros, trims and resizes, sealed into chains of
// random versions, sometimes compressed, and opened again from their files.
#include "test/native/chain/seal_fixture.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kMostPages = 300;

class RandomHistory {
 public:
  explicit RandomHistory(uint64_t stream) : random_(stream), history_(RandomSize()), content_(history_.content()) {}

  void Grow() {
    const uint32_t block_sizes[] = {4096, 4096, 8192, 65536};
    const auto overlay = history_.Overlay(block_sizes[random_.Below(4)]);
    for (uint64_t step = random_.Below(12); step > 0; --step) Change(*overlay);
    ASSERT_TRUE(Holds(*overlay, content_));
    const std::optional<uint32_t> version = PickVersion();
    const auto report = history_.Seal(*overlay, version);
    ASSERT_TRUE(IsOk(report));
    const uint64_t layout = history_.Newest().layout();
    ASSERT_EQ(layout, version.value_or(static_cast<uint32_t>(layout)));
    if (layout >= 4 && random_.OneIn(3)) Compress();
    history_.Step([](OverlayDevice&) {}, content_);
    EXPECT_EQ(history_.Newest().layout(), layout) << "inherited";
  }

 private:
  uint64_t RandomSize() { return kPageBytes * (1 + random_.Below(kMostPages)); }

  void Compress() {
    history_.Compress(random_.OneIn(2) ? Compression::kZstd : Compression::kLz4, kPageBytes * (1 + random_.Below(9)));
    compressed_ = true;
  }

  std::optional<uint32_t> PickVersion() {
    if (random_.OneIn(2)) return std::nullopt;
    return static_cast<uint32_t>(compressed_ ? 4 + random_.Below(2) : 3 + random_.Below(3));
  }

  Range Pick() {
    const uint64_t offset = random_.Below(content_.size());
    const uint64_t most = std::min<uint64_t>(content_.size() - offset, random_.OneIn(4) ? 1 << 20 : 20'000);
    Range range{offset, 1 + random_.Below(most)};
    if (random_.OneIn(2)) {
      range.length_bytes =
          std::min<uint64_t>(content_.size(), range.end_bytes() + kPageBytes) / kPageBytes * kPageBytes;
      range.offset_bytes = range.offset_bytes / kPageBytes * kPageBytes;
      range.length_bytes -= range.offset_bytes;
    }
    return range;
  }

  void Change(OverlayDevice& overlay) {
    const uint64_t choice = random_.Below(10);
    if (choice == 0) return Resize(overlay);
    const Range range = Pick();
    if (choice <= 2) return Zero(overlay, range);
    if (choice == 3) return Trim(overlay, range);
    Bytes data = random_.Bytes(range.length_bytes);
    if (choice == 4) data = {ContentAt(range.offset_bytes), ContentAt(range.end_bytes())};  // The same again.
    if (choice == 5) std::fill(data.begin() + static_cast<ptrdiff_t>(data.size() / 2), data.end(), std::byte{0});
    ASSERT_TRUE(IsOk(overlay.Write(range.offset_bytes, data)));
    std::copy(data.begin(), data.end(), ContentAt(range.offset_bytes));
  }

  void Resize(OverlayDevice& overlay) {
    const uint64_t size = RandomSize();
    ASSERT_TRUE(IsOk(overlay.Resize(size)));
    content_.resize(size);
  }

  void Zero(OverlayDevice& overlay, Range range) {
    ASSERT_TRUE(IsOk(overlay.Zero(range)));
    std::fill(ContentAt(range.offset_bytes), ContentAt(range.end_bytes()), std::byte{0});
  }

  // Only whole blocks become zero: the device says which.
  void Trim(OverlayDevice& overlay, Range range) {
    ASSERT_TRUE(IsOk(overlay.Trim(range)));
    content_ = ContentOf(overlay);
  }

  Bytes::iterator ContentAt(uint64_t offset) { return content_.begin() + static_cast<ptrdiff_t>(offset); }

  Random random_;
  History history_;
  Bytes content_;
  bool compressed_ = false;
};

TEST(SealOverlay, AgreesWithAByteArrayThroughRandomHistories) {
  for (uint64_t stream = 0; stream < 24 && !::testing::Test::HasFailure(); ++stream) {
    SCOPED_TRACE("stream " + std::to_string(stream));
    RandomHistory history(1000 + stream);
    for (int build = 0; build < 8 && !::testing::Test::HasFailure(); ++build) history.Grow();
  }
}

TEST(SealOverlay, KeepsAHistory64DeepReadable) {
  constexpr uint64_t kSize = 256 * kPageBytes;
  Random random(70);
  History history(kSize);
  Bytes content(kSize);
  for (int build = 0; build < 64; ++build) {
    const uint64_t offset = random.Below(kSize - 30'000);
    const Bytes data = random.Bytes(1 + random.Below(30'000));
    std::copy(data.begin(), data.end(), content.begin() + static_cast<ptrdiff_t>(offset));
    history.Step([&](OverlayDevice& overlay) { ASSERT_TRUE(IsOk(overlay.Write(offset, data))); }, content);
  }
  EXPECT_EQ(history.Newest().generation, 63u);
}

// Enough to be read, judged and stored by several threads: rows of many lengths, zeros and what the parent holds
// already among them.
TEST(SealOverlay, AgreesWithAByteArrayWhenThreadsShareTheWork) {
  constexpr uint64_t kSize = 40 << 20;
  Random random(71);
  History history(kSize);
  Bytes content(kSize);
  for (int build = 0; build < 4; ++build) {
    const uint64_t longest = build % 2 == 0 ? 1 << 20 : 16 << 10;
    const auto overlay = history.Overlay();
    for (int step = 0; step < 300; ++step) {
      const uint64_t length = 1 + random.Below(longest);
      const uint64_t offset = random.Below(kSize - length);
      const auto at = content.begin() + static_cast<ptrdiff_t>(offset);
      Bytes data = random.OneIn(4) ? Bytes(at, at + static_cast<ptrdiff_t>(length)) : random.Bytes(length);
      if (random.OneIn(4)) std::fill(data.begin() + static_cast<ptrdiff_t>(length / 2), data.end(), std::byte{0});
      ASSERT_TRUE(IsOk(overlay->Write(offset, data)));
      std::copy(data.begin(), data.end(), at);
    }
    ASSERT_TRUE(IsOk(history.Seal(*overlay)));
    ASSERT_TRUE(Holds(*history.Open(), content));
  }
}

}  // namespace
}  // namespace rootloom::testing
