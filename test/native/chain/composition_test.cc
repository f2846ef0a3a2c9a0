#include "native/chain/composition.h"

#include <gtest/gtest.h>

#include "native/block/overlay_device.h"
#include "native/block/zero_device.h"
#include "test/native/util/status_matchers.h"
#include "test/native/util/temp_folder.h"

namespace rootloom {
namespace {

using testing::IsOk;
using testing::TempFolder;

Uuid SomeUuid(uint8_t byte) {
  Uuid uuid;
  uuid.bytes.fill(byte);
  return uuid;
}

// Sixteen pages: [0,4) of build 1 at 10, [4,8) zeros, [8,16) of build 2 at 100.
Header SomeParent() {
  return {.size_bytes = 16 * kPageBytes,
          .generation = 3,
          .build = SomeUuid(2),
          .base_build = SomeUuid(1),
          .sources = {SomeUuid(1), SomeUuid(2)},
          .mappings = {{0, 4, 10, 0}, {4, 4, 0, kZeroSource}, {8, 8, 100, 1}}};
}

constexpr RemapRun Pages(uint64_t target, uint64_t source, uint64_t count) {
  return {target * kPageBytes, source * kPageBytes, count * kPageBytes};
}

std::shared_ptr<RemapDevice> LayOut(std::shared_ptr<Device> source, std::vector<RemapRun> runs) {
  auto target = RemapDevice::Create(std::move(source), 32 * kPageBytes).value();
  EXPECT_TRUE(IsOk(target->Map(std::move(runs))));
  return target;
}

TEST(ComposeHeader, LeadsEachRunToWhereTheParentHasIt) {
  const auto source = ZeroDevice::Create(16 * kPageBytes).value();
  const auto target = LayOut(source, {Pages(1, 8, 4), Pages(5, 2, 4), Pages(20, 12, 4)});
  const auto composed = ComposeHeader(SomeParent(), *target);
  ASSERT_TRUE(IsOk(composed));
  const Header& header = composed->header;
  EXPECT_EQ(header.size_bytes, 32 * kPageBytes);
  EXPECT_EQ(header.build, SomeUuid(2));
  EXPECT_EQ(header.base_build, SomeUuid(1));
  EXPECT_EQ(header.generation, 3u);
  EXPECT_EQ(header.sources, (std::vector<Uuid>{SomeUuid(2), SomeUuid(1)}));
  const std::vector<Mapping> expected{{0, 1, 0, kZeroSource},  {1, 4, 100, 0},  {5, 2, 12, 1},
                                      {7, 13, 0, kZeroSource}, {20, 4, 104, 0}, {24, 8, 0, kZeroSource}};
  EXPECT_EQ(header.mappings, expected);
  EXPECT_EQ(composed->shared, (std::vector<RemapRun>{Pages(1, 8, 4), Pages(5, 2, 4), Pages(20, 12, 4)}));
  EXPECT_TRUE(composed->unshared.empty());
}

TEST(ComposeHeader, LeavesPagesThatNoDiffHoldsInOnePieceToTheCaller) {
  const auto source = ZeroDevice::Create(16 * kPageBytes).value();
  const auto target = LayOut(source, {
                                         {1024, 9 * kPageBytes, 1024},                         // inside one page
                                         {2048, 9 * kPageBytes + 2048, 1024},                  // the same page again
                                         {2 * kPageBytes, 9 * kPageBytes + 1024, kPageBytes},  // crosswise
                                         {5 * kPageBytes, 8 * kPageBytes, 2 * kPageBytes + 1000},
                                     });
  const auto composed = ComposeHeader(SomeParent(), *target);
  ASSERT_TRUE(IsOk(composed));
  const std::vector<Range> expected{{0, kPageBytes}, {2 * kPageBytes, kPageBytes}, {7 * kPageBytes, kPageBytes}};
  EXPECT_EQ(composed->unshared, expected);
  EXPECT_EQ(composed->shared, (std::vector<RemapRun>{Pages(5, 8, 2)}));
  EXPECT_EQ(composed->header.sources, std::vector<Uuid>{SomeUuid(2)});
}

TEST(ComposeHeader, SeesWhatAnOverlayHasChangedOnTheChain) {
  const TempFolder folder;
  const auto chain = ZeroDevice::Create(16 * kPageBytes).value();
  const auto overlay = OverlayDevice::Create(chain, folder.File("upper"), 20 * kPageBytes, kPageBytes).value();
  const std::vector<std::byte> data(kPageBytes, std::byte{1});
  ASSERT_TRUE(IsOk(overlay->Write(9 * kPageBytes, data)));
  ASSERT_TRUE(IsOk(overlay->Zero({11 * kPageBytes, kPageBytes})));
  const auto target = LayOut(overlay, {Pages(0, 8, 12)});
  EXPECT_FALSE(ComposeHeader(SomeParent(), *target).ok()) << "it still takes writes";
  ASSERT_TRUE(IsOk(overlay->Freeze()));
  const auto composed = ComposeHeader(SomeParent(), *target);
  ASSERT_TRUE(IsOk(composed));
  EXPECT_EQ(composed->unshared, (std::vector<Range>{{kPageBytes, kPageBytes}}));
  const std::vector<Mapping> expected{{0, 1, 100, 0},         {1, 1, 0, kZeroSource}, {2, 1, 102, 0},
                                      {3, 1, 0, kZeroSource}, {4, 4, 104, 0},         {8, 24, 0, kZeroSource}};
  EXPECT_EQ(composed->header.mappings, expected);
}

TEST(ComposeHeader, RefusesAParentOfAnotherDisk) {
  const auto target = LayOut(ZeroDevice::Create(17 * kPageBytes).value(), {Pages(0, 0, 1)});
  const auto composed = ComposeHeader(SomeParent(), *target);
  ASSERT_FALSE(composed.ok());
  EXPECT_EQ(composed.status().failure().kind, StatusKind::kInvalidArgument);
}

}  // namespace
}  // namespace rootloom
