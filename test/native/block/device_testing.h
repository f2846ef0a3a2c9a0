// What tests of devices share: reading all, comparing, and a model to compare with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "native/block/device.h"
#include "native/util/file_io.h"
#include "test/native/util/bytes.h"
#include "test/native/util/random.h"
#include "test/native/util/status_matchers.h"

namespace rootloom::testing {

using Bytes = std::vector<std::byte>;

inline Bytes ReadAll(Device& device, Range range) {
  Bytes bytes(range.length_bytes, std::byte{0xee});
  EXPECT_TRUE(IsOk(device.Read(range.offset_bytes, bytes)));
  return bytes;
}

inline Bytes ReadAll(Device& device) { return ReadAll(device, {0, device.size_bytes()}); }

// Compares without printing megabytes.
inline ::testing::AssertionResult SameBytes(const Bytes& actual, const Bytes& expected) {
  if (AreEqual(actual, expected)) return ::testing::AssertionSuccess();
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure() << actual.size() << " bytes instead of " << expected.size();
  }
  const auto [a, e] = std::mismatch(actual.begin(), actual.end(), expected.begin());
  return ::testing::AssertionFailure() << "byte " << (a - actual.begin()) << " is " << static_cast<int>(*a)
                                       << " instead of " << static_cast<int>(*e);
}

// Checks that extents are what Device::Extents promises for range. Bytes of extents that are not data must be zero.
inline void ExpectGoodExtents(Device& device, Range range, const std::vector<Extent>& extents, bool complete) {
  uint64_t offset = range.offset_bytes;
  for (size_t i = 0; i < extents.size(); ++i) {
    ASSERT_EQ(extents[i].range.offset_bytes, offset);
    ASSERT_GT(extents[i].range.length_bytes, 0u);
    if (i > 0) {
      EXPECT_NE(extents[i].kind, extents[i - 1].kind) << "neighbours of one kind at " << offset;
    }
    offset = extents[i].range.end_bytes();
    ASSERT_LE(offset, range.end_bytes());
    if (extents[i].kind != ExtentKind::kData) {
      EXPECT_TRUE(IsAllZero(ReadAll(device, extents[i].range)));
    }
  }
  if (complete) {
    EXPECT_EQ(offset, range.end_bytes());
  }
}

// A device and what it must hold, changed side by side within one range that nobody else changes.
class Model {
 public:
  Model(Device& device, Range range, Bytes content) : device_(device), range_(range), content_(std::move(content)) {}

  void Step(Random& random) {
    const Range part = Pick(random);
    switch (random.Below(8)) {
      case 0:
      case 1:
      case 2: {
        const Bytes data = random.OneIn(4) ? Bytes(part.length_bytes) : Mixed(random, part.length_bytes);
        return random.OneIn(3) ? WriteRow(part, data, random) : Write(part, data, random);
      }
      case 3:
        return Zero(part, random);
      case 4:
        return Trim(part);
      case 5:
        if (random.OneIn(8)) {
          EXPECT_TRUE(IsOk(device_.Flush()));
        }
        return;
      default:
        EXPECT_TRUE(SameBytes(ReadAll(device_, part), Expected(part)));
    }
  }

  void CheckAll() { EXPECT_TRUE(SameBytes(ReadAll(device_, range_), content_)); }

 private:
  Range Pick(Random& random) {
    const uint64_t block = device_.block_size();
    const uint64_t longest = std::min(range_.length_bytes, random.OneIn(2) ? 3 * block : range_.length_bytes);
    uint64_t length = 1 + random.Below(longest);
    uint64_t offset = range_.offset_bytes + random.Below(range_.length_bytes - length + 1);
    if (random.OneIn(2)) {  // Often at block boundaries.
      const uint64_t end = std::max(offset + 1, (offset + length) / block * block);
      offset = std::max(range_.offset_bytes, offset / block * block);
      length = end > offset ? end - offset : 1;
    }
    return {offset, length};
  }

  // Data in which some blocks are zeros.
  Bytes Mixed(Random& random, size_t count) {
    Bytes bytes = random.Bytes(count);
    for (size_t i = 0; i < count; i += device_.block_size()) {
      if (!random.OneIn(4)) continue;
      std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(i), std::min<size_t>(device_.block_size(), count - i),
                  std::byte{0});
    }
    return bytes;
  }

  Durability PickDurability(Random& random) { return random.OneIn(50) ? Durability::kDurable : Durability::kBuffered; }

  void Write(Range part, const Bytes& data, Random& random) {
    ASSERT_TRUE(IsOk(device_.Write(part.offset_bytes, data, PickDurability(random))));
    std::copy(data.begin(), data.end(), At(part.offset_bytes));
  }

  // In pieces that lie apart in memory, often of whole blocks.
  void WriteRow(Range part, const Bytes& data, Random& random) {
    const uint64_t unit = random.OneIn(3) ? 1 : device_.block_size();
    std::vector<Bytes> pieces;
    for (size_t at = 0; at < data.size();) {
      const bool last = pieces.size() + 1 == kMaxRowPieces;
      const size_t rest = data.size() - at;
      const size_t length = last ? rest : std::min<size_t>(random.Below(4) * unit, rest);
      const auto first = data.begin() + static_cast<ptrdiff_t>(at);
      pieces.emplace_back(first, first + static_cast<ptrdiff_t>(length));
      at += length;
    }
    const std::vector<std::span<const std::byte>> row(pieces.begin(), pieces.end());
    std::vector<Status> outcomes(row.size(), Status::Errno("write", "", EIO));
    device_.WriteRow(part.offset_bytes, row, PickDurability(random), outcomes);
    for (const Status& outcome : outcomes) ASSERT_TRUE(IsOk(outcome));
    std::copy(data.begin(), data.end(), At(part.offset_bytes));
  }

  void Zero(Range part, Random& random) {
    ASSERT_TRUE(IsOk(device_.Zero(part, PickDurability(random))));
    std::fill_n(At(part.offset_bytes), part.length_bytes, std::byte{0});
  }

  void Trim(Range part) {
    ASSERT_TRUE(IsOk(device_.Trim(part)));
    const uint64_t block = device_.block_size();
    for (uint64_t first = part.offset_bytes / block * block; first < part.end_bytes(); first += block) {
      const uint64_t end = std::min(first + block, device_.size_bytes());
      const bool whole = first >= part.offset_bytes && end <= part.end_bytes();
      if (whole) std::fill_n(At(first), end - first, std::byte{0});
    }
  }

  Bytes Expected(Range part) {
    return {At(part.offset_bytes), At(part.offset_bytes) + static_cast<ptrdiff_t>(part.length_bytes)};
  }
  Bytes::iterator At(uint64_t offset) {
    return content_.begin() + static_cast<ptrdiff_t>(offset - range_.offset_bytes);
  }

  Device& device_;
  const Range range_;
  Bytes content_;
};

}  // namespace rootloom::testing
