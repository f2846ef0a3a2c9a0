// The conformance suite on every device of native/block.
#include "test/native/block/device_conformance.h"

#include "native/block/faulty_device.h"
#include "native/block/file_device.h"
#include "native/block/logging_device.h"
#include "native/block/memory_device.h"
#include "native/block/overlay_device.h"
#include "native/block/zero_device.h"
#include "test/native/block/lending_file.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {

namespace {

// A memory device in which about half of the blocks hold data.
std::shared_ptr<Device> MakeMemory(uint64_t size_bytes, uint32_t block_size, Bytes* content) {
  std::shared_ptr<Device> device = MemoryDevice::Create(size_bytes, block_size).value();
  Random random(50);
  content->assign(size_bytes, std::byte{0});
  for (uint64_t offset = 0; offset < size_bytes; offset += block_size) {
    if (random.OneIn(2)) continue;
    const Bytes data = random.Bytes(std::min<uint64_t>(block_size, size_bytes - offset));
    EXPECT_TRUE(IsOk(device->Write(offset, data)));
    std::copy(data.begin(), data.end(), content->begin() + static_cast<ptrdiff_t>(offset));
  }
  return device;
}

ConformanceCase Memory(const char* name, uint64_t size_bytes, uint32_t block_size) {
  return {name, [=] {
            ConformanceDevice made;
            made.device = MakeMemory(size_bytes, block_size, &made.content);
            return made;
          }};
}

ConformanceCase File(const char* name, bool writable, uint64_t size_bytes) {
  return {name, [=] {
            auto folder = std::make_shared<TempFolder>();
            const std::string path = folder->File("disk.raw");
            ConformanceDevice made{.keep = folder};
            auto source = MakeMemory(size_bytes, 4096, &made.content);
            auto file = FileDevice::Open(path, {.writable = true, .create_size_bytes = size_bytes}).value();
            const auto extents = source->Extents({0, size_bytes});
            for (const Extent& extent : extents.value()) {
              if (extent.kind != ExtentKind::kData) continue;
              EXPECT_TRUE(IsOk(file->Write(extent.range.offset_bytes, ReadAll(*source, extent.range))));
            }
            made.device = FileDevice::Open(path, {.writable = writable}).value();
            return made;
          }};
}

struct OverlayShape {
  uint64_t base_bytes;
  uint64_t size_bytes;
  uint32_t base_block_size = 4096;
  uint32_t block_size = 4096;
  bool frozen = false;
  uint64_t resized_from_bytes = 0;
};

ConformanceCase Overlay(const char* name, OverlayShape shape) {
  return {name, [=] {
            TempFolder folder;  // The upper has no name any more when this goes.
            ConformanceDevice made;
            auto base = MakeMemory(shape.base_bytes, shape.base_block_size, &made.content);
            const uint64_t first_size = shape.resized_from_bytes != 0 ? shape.resized_from_bytes : shape.size_bytes;
            auto overlay = OverlayDevice::Create(base, folder.File("upper"), first_size, shape.block_size).value();
            made.content.resize(first_size);
            if (shape.resized_from_bytes != 0) {
              EXPECT_TRUE(IsOk(overlay->Resize(shape.size_bytes)));
              made.content.resize(shape.size_bytes);
            }
            if (shape.frozen) {
              Random random(51);
              const Bytes data = random.Bytes(20000);
              EXPECT_TRUE(IsOk(overlay->Write(5000, data)));
              std::copy(data.begin(), data.end(), made.content.begin() + 5000);
              EXPECT_TRUE(IsOk(overlay->Freeze()));
            }
            made.device = overlay;
            return made;
          }};
}

// An overlay whose upper cannot be punched, full of old data.
ConformanceCase UnpunchableOverlay(const char* name) {
  return {name, [=] {
            const MountedFolder folder("ramfs", "");
            ConformanceDevice made;
            auto base = MakeMemory(300'000, 4096, &made.content);
            auto overlay = OverlayDevice::Create(base, folder.File("upper"), 300'000, 4096).value();
            EXPECT_TRUE(IsOk(overlay->Write(0, Random(52).Bytes(300'000))));
            EXPECT_TRUE(IsOk(overlay->Zero({0, 300'000})));
            made.content.assign(300'000, std::byte{0});
            made.device = overlay;
            return made;
          }};
}

constexpr uint64_t kLentBytes = 200'001;

// Its files have no name any more.
std::shared_ptr<Device> MakeLending(Bytes* content) {
  TempFolder folder;
  *content = Random(53).Bytes(kLentBytes);
  return LendingFile::Make(folder.File("file"), folder.File("file"), *content);
}

ConformanceCase Lending(const char* name) {
  return {name, [] {
            ConformanceDevice made;
            made.device = MakeLending(&made.content);
            return made;
          }};
}

// An overlay that has been cut once, and, when settled, lies over what the cut was sealed as.
ConformanceCase OverlayOfLending(const char* name, bool settled) {
  return {name, [=] {
            TempFolder folder;
            ConformanceDevice made;
            auto overlay =
                OverlayDevice::Create(MakeLending(&made.content), folder.File("upper"), 300'000, 4096).value();
            made.content.resize(300'000);
            const Bytes data = Random(54).Bytes(10'000);
            EXPECT_TRUE(IsOk(overlay->Write(50'000, data)));
            std::copy(data.begin(), data.end(), made.content.begin() + 50'000);
            const auto cut = overlay->Cut(folder.File("next")).value();
            const std::string sealed = folder.File("sealed");
            if (settled) {
              EXPECT_TRUE(IsOk(cut->Settle(LendingFile::Make(sealed, sealed, made.content))));
            }
            made.device = overlay;
            return made;
          }};
}

template <typename Double, typename... Args>
ConformanceCase Around(const char* name, Args... args) {
  return {name, [=] {
            ConformanceDevice made;
            made.device = std::make_shared<Double>(MakeMemory(300'000, 4096, &made.content), args...);
            return made;
          }};
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(
    Block, DeviceConformance,
    ::testing::Values(
        Memory("Memory", 3 << 20, 4096), Memory("MemoryOfOddSize", 1'000'001, 512),
        ConformanceCase{"Zero",
                        [] {
                          return ConformanceDevice{ZeroDevice::Create(100'000).value(), Bytes(100'000), {}};
                        }},
        File("File", true, 1 << 20), File("FileOfOddSize", true, 300'001), File("ReadOnlyFile", false, 300'001),
        Overlay("Overlay", {.base_bytes = 3 << 20, .size_bytes = 3 << 20}),
        Overlay("OverlayLargerThanItsBase", {.base_bytes = 100'000, .size_bytes = 400'000}),
        Overlay("OverlaySmallerThanItsBase", {.base_bytes = 400'000, .size_bytes = 100'001}),
        Overlay("OverlayOfSmallBlocks", {.base_bytes = 2 << 20, .size_bytes = 2 << 20, .block_size = 512}),
        Overlay("OverlayOfLargeBlocks", {.base_bytes = 3'000'001, .size_bytes = 4'000'003, .block_size = 65536}),
        Overlay("OverlayGrownTwice", {.base_bytes = 400'000, .size_bytes = 300'000, .resized_from_bytes = 100'001}),
        Overlay("OverlayShrunk", {.base_bytes = 400'000, .size_bytes = 100'001, .resized_from_bytes = 390'000}),
        Overlay("FrozenOverlay", {.base_bytes = 100'000, .size_bytes = 200'000, .frozen = true}),
        Lending("LendingFile"), OverlayOfLending("OverlayOfLendingFile", false),
        OverlayOfLending("SettledOverlayOfLendingFile", true), UnpunchableOverlay("UnpunchableOverlay"),
        Around<LoggingDevice>("Logging", size_t{16}), Around<FaultyDevice>("Faulty"),
        Around<FaultyDevice>("FaultyWithCache", FaultyDevice::Cache::kVolatile)),
    CaseName);

}  // namespace rootloom::testing
