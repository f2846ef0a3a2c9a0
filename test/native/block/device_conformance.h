// The conformance suite: what every Device promises, whatever it is made of.
//
// A test program includes this in one of its files and instantiates DeviceConformance with its cases:
//
//   INSTANTIATE_TEST_SUITE_P(Chain, DeviceConformance, ::testing::Values(
//       ConformanceCase{"V3", [] { return ConformanceDevice{device, content, whatever_keeps_it_alive}; }}), CaseName);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "native/block/device.h"
#include "native/util/file_io.h"
#include "test/native/block/device_testing.h"

namespace rootloom::testing {

struct ConformanceDevice {
  std::shared_ptr<Device> device;  // of at least 8 blocks
  Bytes content;                   // what it holds at first
  std::shared_ptr<void> keep;      // released after the device
};

struct ConformanceCase {
  std::string name;
  std::function<ConformanceDevice()> make;
};

inline void PrintTo(const ConformanceCase& conformance_case, std::ostream* stream) { *stream << conformance_case.name; }

inline std::string CaseName(const ::testing::TestParamInfo<ConformanceCase>& info) { return info.param.name; }

class DeviceConformance : public ::testing::TestWithParam<ConformanceCase> {
 protected:
  void SetUp() override {
    Seed();
    made_ = GetParam().make();
    ASSERT_NE(made_.device, nullptr);
    ASSERT_EQ(made_.content.size(), device().size_bytes());
    ASSERT_GE(device().size_bytes(), 8u * device().block_size());
  }
  void TearDown() override { Release(); }
  void Release() { made_.device.reset(); }

  Device& device() { return *made_.device; }
  Bytes& content() { return made_.content; }
  uint64_t size() { return device().size_bytes(); }
  uint64_t block() { return device().block_size(); }

  Bytes Slice(Range range) {
    const auto first = content().begin() + static_cast<ptrdiff_t>(range.offset_bytes);
    return {first, first + static_cast<ptrdiff_t>(range.length_bytes)};
  }

 private:
  ConformanceDevice made_;
};

#define ROOTLOOM_NEEDS_WRITABLE() \
  if (!device().writable()) return  // The read-only promises are tests of their own.

TEST_P(DeviceConformance, HasAUsableBlockSizeAndAName) {
  EXPECT_TRUE(IsOk(CheckBlockSize("test", device().block_size())));
  EXPECT_FALSE(device().name().empty());
}

TEST_P(DeviceConformance, ReadReturnsTheContent) {
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
  Random random(1);
  for (int i = 0; i < 200; ++i) {
    const uint64_t offset = random.Below(size());
    const Range range{offset, 1 + random.Below(size() - offset)};
    ASSERT_TRUE(SameBytes(ReadAll(device(), range), Slice(range)));
  }
}

// The files below these devices stay whole, so here what is lent may be looked at.
TEST_P(DeviceConformance, LendsTheContentOrNothing) {
  Random random(11);
  Lenders lenders;
  for (int i = 0; i < 200; ++i) {
    const uint64_t offset = random.Below(size());
    const Range range{offset, 1 + random.Below(std::min(size() - offset, 3 * block()))};
    ReadAll(device(), range);  // Some lend only what was read.
    const auto lent = device().Borrow(range, lenders);
    if (lent.empty()) continue;
    ASSERT_TRUE(SameBytes({lent.begin(), lent.end()}, Slice(range)));
    EXPECT_FALSE(lenders.empty());
  }
  for (const Range& range : {Range{size(), 1}, Range{size() - 1, 2}, Range{UINT64_MAX, 1}, Range{0, 0}}) {
    EXPECT_TRUE(device().Borrow(range, lenders).empty());
  }
}

TEST_P(DeviceConformance, WhatIsLentOutlivesChangesAndTheDevice) {
  Lenders lenders;
  const Range whole{0, block()};
  ReadAll(device(), whole);
  const auto lent = device().Borrow(whole, lenders);
  if (device().writable()) {
    ASSERT_TRUE(IsOk(device().Write(0, Random(12).Bytes(block()))));
    EXPECT_TRUE(device().Borrow(whole, lenders).empty()) << "what may change again is not lent";
  }
  Release();
  EXPECT_TRUE(lent.empty() || SameBytes({lent.begin(), lent.end()}, Slice(whole)));
}

TEST_P(DeviceConformance, RefusesRangesBeyondTheEndAndChangesNothing) {
  const Range beyond[] = {{size(), 1}, {size() - 1, 2}, {0, size() + 1}, {UINT64_MAX, 1}, {size() + 1, 0}};
  for (const Range& range : beyond) {
    Bytes bytes(std::min<uint64_t>(range.length_bytes, size() + 1), std::byte{7});
    EXPECT_TRUE(FailedWith(device().Read(range.offset_bytes, bytes), EINVAL));
    EXPECT_TRUE(FailedWith(device().Extents(range), EINVAL));
    if (!device().writable()) continue;
    EXPECT_TRUE(FailedWith(device().Write(range.offset_bytes, bytes), EINVAL));
    EXPECT_TRUE(FailedWith(device().Zero(range), EINVAL));
    EXPECT_TRUE(FailedWith(device().Trim(range), EINVAL));
  }
  EXPECT_TRUE(FailedWith(device().Extents({1, UINT64_MAX}), EINVAL));
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
}

TEST_P(DeviceConformance, TakesEmptyRangesAnywhereInside) {
  for (const uint64_t offset : {uint64_t{0}, size() / 2 + 1, size()}) {
    EXPECT_TRUE(IsOk(device().Read(offset, {})));
    ASSERT_TRUE(IsOk(device().Extents({offset, 0})));
    EXPECT_TRUE(device().Extents({offset, 0}).value().empty());
    if (!device().writable()) continue;
    EXPECT_TRUE(IsOk(device().Write(offset, {})));
    EXPECT_TRUE(IsOk(device().Zero({offset, 0})));
    EXPECT_TRUE(IsOk(device().Trim({offset, 0})));
  }
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
}

TEST_P(DeviceConformance, ExtentsCoverAnyRangeInOrder) {
  Random random(2);
  for (int i = 0; i < 50; ++i) {
    const uint64_t offset = random.Below(size());
    const Range range{offset, 1 + random.Below(size() - offset)};
    const auto all = device().Extents(range);
    ASSERT_TRUE(IsOk(all));
    ASSERT_NO_FATAL_FAILURE(ExpectGoodExtents(device(), range, all.value(), true));
    const size_t max_count = 1 + random.Below(all.value().size() + 1);
    const auto some = device().Extents(range, max_count);
    ASSERT_TRUE(IsOk(some));
    ASSERT_LE(some.value().size(), max_count);
    ASSERT_FALSE(some.value().empty());
    ExpectGoodExtents(device(), range, some.value(), false);
  }
}

TEST_P(DeviceConformance, AReadOnlyDeviceRefusesEveryChange) {
  if (device().writable()) return;
  EXPECT_TRUE(FailedWith(device().Write(0, Bytes(1, std::byte{1})), EROFS));
  EXPECT_TRUE(FailedWith(device().Zero({0, block()}), EROFS));
  EXPECT_TRUE(FailedWith(device().Trim({0, block()}), EROFS));
  EXPECT_TRUE(IsOk(device().Flush()));
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
}

TEST_P(DeviceConformance, WriteChangesItsRangeAndNothingElse) {
  ROOTLOOM_NEEDS_WRITABLE();
  Random random(3);
  const Range ranges[] = {{0, 1},          {block() - 1, 2},     {block(), block()}, {block() + 1, 3 * block()},
                          {size() - 1, 1}, {3 * block() + 5, 7}, {0, size()}};
  for (const Range& range : ranges) {
    const Bytes data = random.Bytes(range.length_bytes);
    ASSERT_TRUE(IsOk(device().Write(range.offset_bytes, data)));
    std::copy(data.begin(), data.end(), content().begin() + static_cast<ptrdiff_t>(range.offset_bytes));
    ASSERT_TRUE(SameBytes(ReadAll(device()), content()));
  }
  EXPECT_TRUE(IsOk(device().Flush()));
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
}

TEST_P(DeviceConformance, ARowIsWrittenWhole) {
  ROOTLOOM_NEEDS_WRITABLE();
  // Whole blocks with one of zeros among them, then pieces that no block begins or ends with.
  for (const uint64_t unit : {block(), block() + 3}) {
    const Bytes pieces[] = {Random(7).Bytes(unit), Bytes(unit), Random(8).Bytes(unit), {}, Random(9).Bytes(2 * unit)};
    const std::span<const std::byte> row[] = {pieces[0], pieces[1], pieces[2], pieces[3], pieces[4]};
    for (const Durability durability : {Durability::kBuffered, Durability::kDurable}) {
      Status outcomes[5];
      device().WriteRow(block(), row, durability, outcomes);
      for (const Status& outcome : outcomes) EXPECT_TRUE(IsOk(outcome));
    }
    auto target = content().begin() + static_cast<ptrdiff_t>(block());
    for (const Bytes& piece : pieces) target = std::copy(piece.begin(), piece.end(), target);
    ASSERT_TRUE(SameBytes(ReadAll(device()), content()));
  }
}

TEST_P(DeviceConformance, EachPieceOfARowHasItsOwnOutcome) {
  const Bytes data = Random(10).Bytes(block());
  const std::span<const std::byte> row[] = {data, data, data};
  const uint64_t offset = size() - 2 * block();  // The last piece lies beyond the end.
  Status outcomes[3];
  device().WriteRow(offset, row, Durability::kBuffered, outcomes);
  for (size_t piece = 0; piece < 3; ++piece) {
    if (!device().writable()) {
      EXPECT_TRUE(FailedWith(outcomes[piece], EROFS));
    } else if (piece == 2) {
      EXPECT_TRUE(FailedWith(outcomes[piece], EINVAL));
    } else {
      EXPECT_TRUE(IsOk(outcomes[piece]));
      std::copy(data.begin(), data.end(), content().begin() + static_cast<ptrdiff_t>(offset + piece * block()));
    }
  }
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
  device().WriteRow(size(), {}, Durability::kDurable, {});
}

TEST_P(DeviceConformance, TrimZeroesWholeBlocksAndKeepsTheRest) {
  ROOTLOOM_NEEDS_WRITABLE();
  const Bytes data = Random(4).Bytes(size());
  ASSERT_TRUE(IsOk(device().Write(0, data)));
  content() = data;
  ASSERT_TRUE(IsOk(device().Trim({1, block() - 1})));  // No whole block in it.
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
  ASSERT_TRUE(IsOk(device().Trim({block() + 1, 3 * block()})));  // Blocks 2 and 3.
  std::fill_n(content().begin() + static_cast<ptrdiff_t>(2 * block()), 2 * block(), std::byte{0});
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
  const uint64_t last = (size() - 1) / block() * block();
  ASSERT_TRUE(IsOk(device().Trim({last, size() - last})));  // The last block, also when the end cuts it.
  std::fill(content().begin() + static_cast<ptrdiff_t>(last), content().end(), std::byte{0});
  EXPECT_TRUE(SameBytes(ReadAll(device()), content()));
}

TEST_P(DeviceConformance, AZeroedDeviceHasNoData) {
  ROOTLOOM_NEEDS_WRITABLE();
  ASSERT_TRUE(IsOk(device().Write(0, Random(5).Bytes(size()))));
  ASSERT_TRUE(IsOk(device().Zero({0, size()}, Durability::kDurable)));
  EXPECT_TRUE(IsAllZero(ReadAll(device())));
  const auto extents = device().Extents({0, size()});
  ASSERT_TRUE(IsOk(extents));
  for (const Extent& extent : extents.value()) EXPECT_NE(extent.kind, ExtentKind::kData);
}

TEST_P(DeviceConformance, RandomOperationsAgreeWithAByteArray) {
  ROOTLOOM_NEEDS_WRITABLE();
  Random random(6);
  Model model(device(), {0, size()}, content());
  for (int step = 0; step < 600 && !HasFailure(); ++step) model.Step(random);
  model.CheckAll();
}

// The slices meet inside blocks, so that partial writes of neighbours compete for one block all the time.
TEST_P(DeviceConformance, ConcurrentWritersAgreeWithTheirByteArrays) {
  ROOTLOOM_NEEDS_WRITABLE();
  constexpr uint64_t kThreads = 4;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    const uint64_t first = size() * i / kThreads + (i == 0 ? 0 : 13);
    const uint64_t end = i + 1 == kThreads ? size() : size() * (i + 1) / kThreads + 13;
    threads.emplace_back([this, i, slice = Range{first, end - first}] {
      Random random(100 + i);
      Model model(device(), slice, Slice(slice));
      for (int step = 0; step < 400 && !HasFailure(); ++step) model.Step(random);
      model.CheckAll();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(DeviceConformance, ConcurrentPartialWritesOfOneBlockAllArrive) {
  ROOTLOOM_NEEDS_WRITABLE();
  constexpr uint64_t kThreads = 8;
  const uint64_t part = block() / kThreads;
  for (uint64_t round = 0; round < 8; ++round) {
    const uint64_t offset = round * block();
    Bytes expected(block());
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < kThreads; ++i) {
      const Bytes data(part, static_cast<std::byte>(i + 1));
      std::copy(data.begin(), data.end(), expected.begin() + static_cast<ptrdiff_t>(i * part));
      threads.emplace_back([this, data, at = offset + i * part] { EXPECT_TRUE(IsOk(device().Write(at, data))); });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(SameBytes(ReadAll(device(), {offset, block()}), expected));
  }
}

}  // namespace rootloom::testing
