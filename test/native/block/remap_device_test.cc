#include "native/block/remap_device.h"

#include <gtest/gtest.h>

#include <numeric>

#include "native/block/memory_device.h"
#include "test/native/util/status_matchers.h"

namespace rootloom {
namespace {

using testing::IsOk;

constexpr uint64_t kSourceBytes = 64 << 10;

// Two pages of it are zeros.
std::shared_ptr<Device> MakeSource(std::vector<std::byte>& content) {
  content.resize(kSourceBytes);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(1 + i % 251);
  std::fill_n(content.begin() + 8192, 8192, std::byte{0});
  auto device = MemoryDevice::Create(kSourceBytes).value();
  EXPECT_TRUE(IsOk(device->Write(0, std::span(content).first(8192))));
  EXPECT_TRUE(IsOk(device->Write(16384, std::span(content).subspan(16384))));
  return device;
}

TEST(RemapDevice, ShowsRunsAtTheirPlacesAndZerosBetweenThem) {
  std::vector<std::byte> content;
  const auto device = RemapDevice::Create(MakeSource(content), 100'000).value();
  std::vector<std::byte> shown(100'000, std::byte{7});
  ASSERT_TRUE(IsOk(device->Read(0, shown)));
  EXPECT_EQ(shown, std::vector<std::byte>(100'000));

  const std::vector<RemapRun> runs{{0, 40'000, 5000}, {5000, 0, 1}, {5001, 0, 20'000}, {90'000, 4096, 10'000}};
  std::vector<std::byte> expected(100'000);
  for (const RemapRun& run : runs) {
    std::copy_n(content.begin() + static_cast<ptrdiff_t>(run.source_offset_bytes), run.length_bytes,
                expected.begin() + static_cast<ptrdiff_t>(run.offset_bytes));
  }
  ASSERT_TRUE(IsOk(device->Map(runs)));
  for (const uint64_t step : {1u, 777u, 4096u, 100'000u}) {
    std::vector<std::byte> read(100'000);
    for (uint64_t at = 0; at < read.size(); at += step) {
      if (step == 1 && at % 997 > 3) continue;
      const auto part = std::span(read).subspan(at, std::min<uint64_t>(step, read.size() - at));
      ASSERT_TRUE(IsOk(device->Read(at, part)));
      EXPECT_TRUE(std::equal(part.begin(), part.end(), expected.begin() + static_cast<ptrdiff_t>(at))) << at;
    }
  }
}

TEST(RemapDevice, TellsHolesBetweenRunsAndTheSourcesInsideThem) {
  std::vector<std::byte> content;
  const auto device = RemapDevice::Create(MakeSource(content), 1 << 20).value();
  ASSERT_TRUE(IsOk(device->Map({{4096, 4096, 16384}, {65536, 20480, 4096}})));
  const auto extents = device->Extents({0, 1 << 20});
  ASSERT_TRUE(IsOk(extents));
  uint64_t end_bytes = 0;
  uint64_t data_bytes = 0;
  for (const Extent& extent : *extents) {
    EXPECT_EQ(extent.range.offset_bytes, end_bytes);
    end_bytes = extent.range.end_bytes();
    if (extent.kind == ExtentKind::kData) data_bytes += extent.range.length_bytes;
  }
  EXPECT_EQ(end_bytes, 1u << 20);
  EXPECT_EQ(data_bytes, 4096u + 4096u + 4096u);
  EXPECT_EQ(device->Extents({0, 1 << 20}, 1)->size(), 1u);
}

TEST(RemapDevice, RefusesRunsThatAreNoneAndASecondLayoutAndWrites) {
  std::vector<std::byte> content;
  const auto source = MakeSource(content);
  const std::vector<std::vector<RemapRun>> wrong{{{0, 0, 0}},
                                                 {{4096, 0, 4096}, {0, 0, 4096}},
                                                 {{0, 0, 8192}, {4096, 0, 4096}},
                                                 {{0, kSourceBytes, 1}},
                                                 {{99'999, 0, 2}},
                                                 {{0, UINT64_MAX, 2}}};
  for (const auto& runs : wrong) {
    const auto device = RemapDevice::Create(source, 100'000).value();
    const Status status = device->Map(runs);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.failure().kind, StatusKind::kInvalidArgument);
    EXPECT_TRUE(device->runs().empty());
    EXPECT_TRUE(IsOk(device->Map({{0, 0, 1}})));
    EXPECT_FALSE(device->Map({{0, 0, 1}}).ok());
    EXPECT_EQ(device->runs().size(), 1u);
  }
  const auto device = RemapDevice::Create(source, 100'000).value();
  EXPECT_EQ(device->Write(0, content).failure().error_number, EROFS);
  EXPECT_EQ(device->Zero({0, 1}).failure().error_number, EROFS);
  EXPECT_EQ(device->Trim({0, 1}).failure().error_number, EROFS);
}

}  // namespace
}  // namespace rootloom
