// A growing history of builds in a folder, with the bytes that its newest disk must hold.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>

#include "native/block/memory_device.h"
#include "native/block/zero_device.h"
#include "native/chain/chain_device.h"
#include "native/chain/seal.h"
#include "native/util/file_io.h"
#include "native/util/sha256.h"
#include "test/native/chain/compress.h"

namespace rootloom::testing {

// Checks what every sealed header must be, besides readable.
inline void ExpectSoundBuild(const SealTarget& target, const SealReport& report, uint32_t block_bytes = kPageBytes) {
  const Result<Header> header = DecodeHeader(ReadWhole(target.header_path));
  ASSERT_TRUE(IsOk(header));
  const Bytes diff = ReadWhole(target.diff_path);
  EXPECT_EQ(diff.size(), report.diff_bytes);
  EXPECT_EQ(header->size_bytes, report.size_bytes);
  for (size_t at = 0; at < diff.size(); at += block_bytes) {
    const auto block = std::span(diff).subspan(at, std::min<size_t>(block_bytes, diff.size() - at));
    EXPECT_FALSE(IsAllZero(block)) << "a block of zeros is stored at " << at;
  }
  // Its own data is packed: each mapping of it starts where the one before ended.
  uint64_t stored_pages = 0;
  for (const Mapping& mapping : header->mappings) {
    if (mapping.source == kZeroSource || header->sources[mapping.source] != header->build) continue;
    EXPECT_EQ(mapping.storage_pages, stored_pages);
    stored_pages = mapping.storage_end_pages();
  }
  EXPECT_EQ(stored_pages * kPageBytes, report.diff_bytes);
  EXPECT_TRUE(!target.digest || !report.diff_sha256.empty());
  Sha256 digest;
  digest.Update(diff);
  EXPECT_EQ(report.diff_sha256, report.diff_sha256.empty() ? "" : digest.TakeHex());
}

class History {
 public:
  explicit History(uint64_t size_bytes) : content_(size_bytes) {}

  const Bytes& content() const { return content_; }
  uint32_t build_count() const { return build_count_; }
  const TempFolder& folder() const { return folder_; }
  std::string DiffPath(const Uuid& build) const { return folder_.File(build.ToText() + ".diff"); }
  std::string HeaderPath(const Uuid& build) const { return folder_.File(build.ToText() + ".header"); }
  SealTarget Target(std::optional<uint32_t> version = {}) const {
    const Uuid build = NumberedBuild(build_count_);
    return {.build = build,
            .diff_path = DiffPath(build),
            .header_path = HeaderPath(build),
            .version = version,
            .digest = build_count_ % 2 == 0};
  }
  Header Newest() const { return DecodeHeader(ReadWhole(HeaderPath(NumberedBuild(build_count_ - 1)))).value(); }

  // The newest disk, opened from its files.
  std::shared_ptr<Device> Open() const {
    if (build_count_ == 0) return ZeroDevice::Create(content_.size()).value();
    return ChainDevice::Open(Newest(), [this](const Uuid& build) { return DiffPath(build); }).value();
  }

  std::shared_ptr<OverlayDevice> Overlay(uint32_t block_size = kPageBytes) const {
    const auto base = Open();
    return OverlayDevice::Create(base, folder_.File("upper"), base->size_bytes(), block_size).value();
  }

  Result<SealReport> Seal(OverlayDevice& overlay, std::optional<uint32_t> version = {},
                          const CallContext& context = {}) {
    return SealWith(version, overlay.block_size(), [&](const Header* parent, const SealTarget& target) {
      return SealOverlay(overlay, parent, target, context);
    });
  }

  Result<SealReport> SealCut(OverlayCut& cut, std::optional<uint32_t> version = {}) {
    return SealWith(version, cut.block_size(), [&](const Header* parent, const SealTarget& target) {
      return rootloom::SealCut(cut, parent, target, {});
    });
  }

  // Runs change on an overlay of the newest disk, seals, and takes content as what the disk holds now.
  SealReport Step(const std::function<void(OverlayDevice&)>& change, Bytes content,
                  std::optional<uint32_t> version = {}) {
    const auto overlay = Overlay();
    change(*overlay);
    const Result<SealReport> report = Seal(*overlay, version);
    EXPECT_TRUE(IsOk(report));
    content_ = std::move(content);
    EXPECT_TRUE(Holds(*Open(), content_));
    return report.ok() ? *report : SealReport();
  }

  // Stores the newest build's diff in frames, as an uploader would. Its header must be V4 or V5.
  void Compress(Compression compression, size_t frame_bytes) {
    Header header = Newest();
    const Bytes diff = ReadWhole(DiffPath(header.build));
    if (diff.empty()) return;
    CompressedDiff compressed = CompressDiff(diff, compression, frame_bytes);
    std::erase_if(header.builds, [&](const BuildData& data) { return data.build == header.build; });
    header.builds.push_back({.build = header.build, .size_bytes = diff.size(), .table = std::move(compressed.table)});
    WriteWhole(DiffPath(header.build), compressed.stored);
    WriteWhole(HeaderPath(header.build), EncodeHeader(header).value());
  }

 private:
  Result<SealReport> SealWith(
      std::optional<uint32_t> version, uint32_t block_size,
      const std::function<Result<SealReport>(const Header* parent, const SealTarget& target)>& seal) {
    const SealTarget target = Target(version);
    std::optional<Header> parent;
    if (build_count_ > 0) parent = Newest();
    Result<SealReport> report = seal(parent ? &*parent : nullptr, target);
    if (!report.ok()) return report;
    ExpectSoundBuild(target, *report, block_size);
    ++build_count_;
    return report;
  }

  TempFolder folder_;
  Bytes content_;
  uint32_t build_count_ = 0;
};

inline void Put(Bytes& content, uint64_t offset, std::span<const std::byte> data) {
  std::copy(data.begin(), data.end(), content.begin() + static_cast<ptrdiff_t>(offset));
}

}  // namespace rootloom::testing
