#include "native/chain/seal.h"

#include <algorithm>
#include <bit>

#include "native/chain/block_scan.h"
#include "native/chain/chain_device.h"
#include "native/chain/diff_writer.h"
#include "native/chain/mapping.h"
#include "native/chain/new_file.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr char kSeal[] = "seal";

Status CheckTarget(const SealTarget& target, uint64_t block_bytes) {
  if (target.build.is_nil()) return Status::Invalid(kSeal, "the new build's id is nil");
  if (target.version && (*target.version < 3 || *target.version > 5)) {
    return Status::Invalid(kSeal, "version " + std::to_string(*target.version) + " was asked for, 3 to 5 are known");
  }
  if (block_bytes < kPageBytes || block_bytes > kMaxBlockBytes || !std::has_single_bit(block_bytes)) {
    return Status::Invalid(
        kSeal, "the block size is " + std::to_string(block_bytes) + ", a power of two from 4096 to 2^30 was expected");
  }
  return Status::Ok();
}

Status CheckWholePages(const char* what, uint64_t size_bytes) {
  if (size_bytes % kPageBytes == 0) return Status::Ok();
  return Status::Invalid(kSeal, std::string("the size of the ") + what + " is " + std::to_string(size_bytes) +
                                    ", a multiple of 4096 was expected");
}

// The overlay's base must hold what parent describes, or dropping equal blocks would lose them.
Status CheckParent(const Header& parent, const Device& base, const Uuid& build) {
  const std::string which = "the parent build " + parent.build.ToText();
  const auto* chain = dynamic_cast<const ChainDevice*>(&base);
  if (base.size_bytes() != parent.size_bytes || (chain != nullptr && chain->build() != parent.build)) {
    return Status::Invalid(kSeal, which + " is not what the overlay is based on (" + base.name() + ")");
  }
  if (parent.incomplete) return Status::Invalid(kSeal, which + " is not stored yet");
  if (build == parent.build || std::count(parent.sources.begin(), parent.sources.end(), build) != 0) {
    return Status::Invalid(kSeal, "the new build's id is that of one it builds on");
  }
  if (parent.sources.size() == kMaxSources) return Status::Invalid(kSeal, which + " already refers to 65535 builds");
  return CheckWholePages("parent", parent.size_bytes);
}

uint64_t VersionFor(const Header* parent, const SealTarget& target) {
  if (target.version) return *target.version;
  return parent != nullptr && parent->layout() >= 4 ? parent->version : 3;
}

// What a V4 or V5 header says about the builds that it still refers to; V3 refuses what it cannot say.
std::vector<BuildData> InheritBuilds(const Header& header, const Header* parent, uint64_t diff_bytes) {
  std::vector<BuildData> builds;
  for (const Uuid& source : header.sources) {
    if (source == header.build) {
      builds.push_back(BuildData{.build = source, .size_bytes = diff_bytes});
    } else if (auto data = FindBuildData(*parent, source)) {
      builds.push_back(*std::move(data));
    }
  }
  return builds;
}

struct Shape {
  uint64_t size_bytes;
  uint32_t block_size;
};

Result<std::vector<std::byte>> MakeHeader(const Header* parent, const SealTarget& target, const Shape& shape,
                                          const DiffWriter& diff) {
  Header header{.version = VersionFor(parent, target),
                .block_size = shape.block_size,
                .size_bytes = shape.size_bytes,
                .generation = parent == nullptr ? 0 : parent->generation + 1,
                .build = target.build,
                .base_build = parent == nullptr ? target.build : parent->base_build};
  std::span<const Mapping> inherited;
  if (parent != nullptr) {
    header.sources = parent->sources;
    inherited = parent->mappings;
  }
  header.sources.push_back(target.build);
  header.mappings = MergeMappings(ResizeMappings(inherited, PagesFor(shape.size_bytes)), diff.mappings());
  ROOTLOOM_RETURN_IF_ERROR(NormalizeHeader(header, kSeal, StatusKind::kInvalidArgument));
  header.builds = InheritBuilds(header, parent, diff.size_bytes());
  return EncodeHeader(std::move(header));
}

// The last steps of every seal. From Keep on nothing can fail.
Status Finish(DiffWriter& diff, std::span<const std::byte> header, const std::string& header_path,
              const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kSeal));
  ROOTLOOM_RETURN_IF_ERROR(diff.Finish());
  ROOTLOOM_ASSIGN_OR_RETURN(NewFile header_file, NewFile::Create(header_path));
  ROOTLOOM_RETURN_IF_ERROR(PwriteAll(header_file.fd(), header, 0, header_path));
  ROOTLOOM_RETURN_IF_ERROR(header_file.Sync());
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kSeal));
  diff.Keep();
  header_file.Keep();
  return Status::Ok();
}

Status ScanOverlay(OverlayDevice& overlay, const Header* parent, BlockScan& scan) {
  return overlay.ForEachRun([&](const BlockRun& run) {
    const uint64_t start = run.first_block * overlay.block_size();
    const uint64_t end = std::min(run.end_block() * overlay.block_size(), overlay.size_bytes());
    const Range range{start, end - start};
    switch (run.state) {
      case BlockState::kAbsent:
        return parent == nullptr ? scan.ScanDevice(range, overlay) : Status::Ok();
      case BlockState::kData:
        return scan.ScanFile(range, overlay.upper_fd(), overlay.upper_path());
      case BlockState::kZero:
        scan.AddZeros(range);
        return Status::Ok();
    }
    return Status::Ok();
  });
}

SealReport MakeReport(const Shape& shape, const DiffWriter& diff, const BlockCounts& counts) {
  return SealReport{.size_bytes = shape.size_bytes,
                    .diff_bytes = diff.size_bytes(),
                    .data_blocks = counts.data,
                    .zero_blocks = counts.zero,
                    .dropped_blocks = counts.dropped};
}

// In a build that stands alone every block that is not data is zero, whether it was looked at or skipped.
void CountSkippedZeros(uint32_t scan_block_bytes, SealReport& report) {
  const uint64_t blocks = (report.size_bytes + scan_block_bytes - 1) / scan_block_bytes;
  report.zero_blocks = blocks - report.data_blocks;
}

}  // namespace

Result<SealReport> SealOverlay(OverlayDevice& overlay, const Header* parent, const SealTarget& target,
                               const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(CheckTarget(target, overlay.block_size()));
  if (parent != nullptr) ROOTLOOM_RETURN_IF_ERROR(CheckParent(*parent, *overlay.base(), target.build));
  ROOTLOOM_RETURN_IF_ERROR(overlay.Freeze(context));
  ROOTLOOM_RETURN_IF_ERROR(CheckWholePages("overlay", overlay.size_bytes()));

  const Shape shape{overlay.size_bytes(), parent == nullptr ? overlay.block_size() : parent->block_size};
  const auto own_source = static_cast<uint16_t>(parent == nullptr ? 0 : parent->sources.size());
  ROOTLOOM_ASSIGN_OR_RETURN(DiffWriter diff, DiffWriter::Create(target.diff_path, own_source));
  const OverlayStats stats = overlay.Stats();
  const uint64_t written_bytes = (stats.data_blocks + stats.zero_blocks) * overlay.block_size();
  BlockScan scan({.writer = diff,
                  .block_bytes = overlay.block_size(),
                  .base = parent == nullptr ? nullptr : overlay.base().get(),
                  .total_bytes = parent == nullptr ? shape.size_bytes : written_bytes,
                  .context = context});
  ROOTLOOM_RETURN_IF_ERROR(ScanOverlay(overlay, parent, scan));

  ROOTLOOM_ASSIGN_OR_RETURN(const auto header, MakeHeader(parent, target, shape, diff));
  ROOTLOOM_RETURN_IF_ERROR(Finish(diff, header, target.header_path, context));
  SealReport report = MakeReport(shape, diff, scan.counts());
  if (parent == nullptr) CountSkippedZeros(overlay.block_size(), report);
  return report;
}

Result<SealReport> SealDevice(Device& device, uint32_t block_size, const SealTarget& target,
                              const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(CheckTarget(target, block_size));
  ROOTLOOM_RETURN_IF_ERROR(CheckWholePages("device", device.size_bytes()));

  const Shape shape{device.size_bytes(), block_size};
  ROOTLOOM_ASSIGN_OR_RETURN(DiffWriter diff, DiffWriter::Create(target.diff_path, 0));
  BlockScan scan({.writer = diff,
                  .block_bytes = block_size,
                  .base = nullptr,
                  .total_bytes = shape.size_bytes,
                  .context = context});
  ROOTLOOM_RETURN_IF_ERROR(scan.ScanDevice({0, shape.size_bytes}, device));

  ROOTLOOM_ASSIGN_OR_RETURN(const auto header, MakeHeader(nullptr, target, shape, diff));
  ROOTLOOM_RETURN_IF_ERROR(Finish(diff, header, target.header_path, context));
  SealReport report = MakeReport(shape, diff, scan.counts());
  CountSkippedZeros(block_size, report);
  return report;
}

}  // namespace rootloom
