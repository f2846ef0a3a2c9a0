#include "native/chain/seal.h"

#include <algorithm>
#include <bit>

#include "native/chain/chain_device.h"
#include "native/chain/diff_writer.h"
#include "native/chain/mapping.h"
#include "native/chain/new_file.h"
#include "native/chain/seal_queue.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr char kSeal[] = "seal";
// Extents asked for at once.
constexpr size_t kExtentBatch = 256;
// Of what was written on a parent. What is less is soon stored through the page cache, and is there when the new build
// is opened next.
constexpr uint64_t kLargeBytes = 64 << 20;

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

// A settled cut stands for what it was settled on.
const Device& HoldingDevice(const Device& device) {
  const auto* const cut = dynamic_cast<const OverlayCut*>(&device);
  if (cut == nullptr) return device;
  const OverlayView view = cut->view();
  return view.upper == nullptr ? *view.below : device;
}

// What lies below must hold what parent describes, or dropping equal blocks would lose them.
Status CheckParent(const Header& parent, const Device& below, const Uuid& build) {
  const std::string which = "the parent build " + parent.build.ToText();
  const Device& base = HoldingDevice(below);
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

// Adds what device holds in the range; its zeros and holes are skipped without being read, and not counted.
Status AddHeld(Range range, Device& device, uint64_t block_bytes, const CallContext& context, SealQueue& queue) {
  uint64_t position = range.offset_bytes;
  uint64_t added_to = range.offset_bytes;
  while (position < range.end_bytes()) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kSeal));
    ROOTLOOM_ASSIGN_OR_RETURN(const auto extents,
                              device.Extents({position, range.end_bytes() - position}, kExtentBatch));
    for (const Extent& extent : extents) {
      position = extent.range.end_bytes();
      if (extent.kind != ExtentKind::kData) continue;
      // Whole blocks: what an extent has of one decides about all of it, once.
      const uint64_t start = std::max(extent.range.offset_bytes / block_bytes * block_bytes, added_to);
      const uint64_t end = std::min((position + block_bytes - 1) / block_bytes * block_bytes, range.end_bytes());
      if (start >= end) continue;
      queue.Skip(start - added_to);
      ROOTLOOM_RETURN_IF_ERROR(queue.Add({.range = {start, end - start}, .device = &device}));
      added_to = end;
    }
  }
  queue.Skip(range.end_bytes() - added_to);
  return Status::Ok();
}

Status AddCut(OverlayCut& cut, const Upper& upper, const Header* parent, const CallContext& context, SealQueue& queue) {
  const uint64_t block_bytes = upper.block_size();
  return upper.states().ForEachRun([&](const BlockRun& run) {
    const uint64_t start = run.first_block * block_bytes;
    const Range range{start, std::min(run.end_block() * block_bytes, cut.size_bytes()) - start};
    switch (run.state) {
      case BlockState::kAbsent:
        return parent == nullptr ? AddHeld(range, cut, block_bytes, context, queue) : Status::Ok();
      case BlockState::kData:
        return queue.Add({.range = range, .fd = upper.fd(), .path = &upper.path()});
      case BlockState::kZero:
        return queue.Add({.range = range});
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

Result<SealReport> SealCut(OverlayCut& cut, const Header* parent, const SealTarget& target,
                           const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(CheckTarget(target, cut.block_size()));
  const OverlayView view = cut.view();
  if (view.upper == nullptr) return Status::Invalid(kSeal, "the " + cut.name() + " is settled, its data is given back");
  if (parent != nullptr) ROOTLOOM_RETURN_IF_ERROR(CheckParent(*parent, *view.below, target.build));
  ROOTLOOM_RETURN_IF_ERROR(CheckWholePages("overlay", cut.size_bytes()));

  const Shape shape{cut.size_bytes(), parent == nullptr ? cut.block_size() : parent->block_size};
  const auto own_source = static_cast<uint16_t>(parent == nullptr ? 0 : parent->sources.size());
  ROOTLOOM_ASSIGN_OR_RETURN(const auto diff, DiffWriter::Create(target.diff_path, own_source));
  const uint64_t written_blocks = view.upper->states().data_count() + view.upper->states().zero_count();
  const uint64_t most_bytes = parent == nullptr ? shape.size_bytes : written_blocks * cut.block_size();
  const bool digests = target.digest || parent == nullptr;
  Sha256 digest;
  if (parent == nullptr || most_bytes >= kLargeBytes) diff->WriteDirectly(most_bytes);
  SealQueue queue({.writer = *diff,
                   .block_bytes = cut.block_size(),
                   .base = parent == nullptr ? nullptr : view.below.get(),
                   .total_bytes = most_bytes,
                   .context = context,
                   .digest = digests ? &digest : nullptr});
  ROOTLOOM_RETURN_IF_ERROR(AddCut(cut, *view.upper, parent, context, queue));
  ROOTLOOM_RETURN_IF_ERROR(queue.Finish());
  // Only now: what is lost from here on has been read before.
  ROOTLOOM_RETURN_IF_ERROR(cut.CheckKept(context));

  ROOTLOOM_ASSIGN_OR_RETURN(const auto header, MakeHeader(parent, target, shape, *diff));
  ROOTLOOM_RETURN_IF_ERROR(Finish(*diff, header, target.header_path, context));
  SealReport report = MakeReport(shape, *diff, queue.counts());
  if (parent == nullptr) CountSkippedZeros(cut.block_size(), report);
  if (digests) report.diff_sha256 = digest.TakeHex();
  return report;
}

Result<SealReport> SealOverlay(OverlayDevice& overlay, const Header* parent, const SealTarget& target,
                               const CallContext& context) {
  // What can be refused is refused before the overlay is frozen for good.
  ROOTLOOM_RETURN_IF_ERROR(CheckTarget(target, overlay.block_size()));
  if (parent != nullptr) ROOTLOOM_RETURN_IF_ERROR(CheckParent(*parent, *overlay.view().below, target.build));
  ROOTLOOM_ASSIGN_OR_RETURN(const auto cut, overlay.LastCut());
  return SealCut(*cut, parent, target, context);
}

Result<SealReport> SealDevice(Device& device, uint32_t block_size, const SealTarget& target,
                              const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(CheckTarget(target, block_size));
  ROOTLOOM_RETURN_IF_ERROR(CheckWholePages("device", device.size_bytes()));

  const Shape shape{device.size_bytes(), block_size};
  ROOTLOOM_ASSIGN_OR_RETURN(const auto diff, DiffWriter::Create(target.diff_path, 0));
  Sha256 digest;
  diff->WriteDirectly(shape.size_bytes);
  SealQueue queue({.writer = *diff,
                   .block_bytes = block_size,
                   .base = nullptr,
                   .total_bytes = shape.size_bytes,
                   .context = context,
                   .digest = &digest});
  ROOTLOOM_RETURN_IF_ERROR(AddHeld({0, shape.size_bytes}, device, block_size, context, queue));
  ROOTLOOM_RETURN_IF_ERROR(queue.Finish());

  ROOTLOOM_ASSIGN_OR_RETURN(const auto header, MakeHeader(nullptr, target, shape, *diff));
  ROOTLOOM_RETURN_IF_ERROR(Finish(*diff, header, target.header_path, context));
  SealReport report = MakeReport(shape, *diff, queue.counts());
  CountSkippedZeros(block_size, report);
  report.diff_sha256 = digest.TakeHex();
  return report;
}

}  // namespace rootloom
