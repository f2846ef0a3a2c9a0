#include "native/chain/composition.h"

#include <algorithm>

#include "native/block/overlay_device.h"
#include "native/chain/extent_index.h"

namespace rootloom {

namespace {

constexpr char kCompose[] = "compose a header";

// A run of pages, on the target and on the source.
struct PageRun {
  uint64_t target = 0;
  uint64_t source = 0;
  uint64_t count = 0;
};

class Composer {
 public:
  Composer(const Header& parent, std::vector<BlockRun> changes, uint64_t page_count)
      : index_(parent.mappings), changes_(std::move(changes)), page_count_(page_count) {}

  // REQUIRES: in ascending order
  void Add(const RemapRun& run);
  // What is left are zeros.
  void Finish() { FillTo(page_count_); }

  std::vector<Mapping> TakeMappings() { return std::move(mappings_); }
  std::vector<RemapRun> TakeShared() { return std::move(shared_); }
  std::vector<Range> TakeUnshared() { return std::move(unshared_); }

 private:
  void AddPages(PageRun run);
  // What the overlay between source and chain holds no change of.
  void AddStored(PageRun run);
  void AddUnshared(uint64_t page, uint64_t count);
  void FillTo(uint64_t page);

  const ExtentIndex index_;
  const std::vector<BlockRun> changes_;  // blocks that are not the chain's, ascending
  const uint64_t page_count_;
  std::vector<Mapping> mappings_;
  std::vector<RemapRun> shared_;
  std::vector<Range> unshared_;
};

void Composer::FillTo(uint64_t page) {
  const uint64_t end = mappings_.empty() ? 0 : mappings_.back().end_pages();
  if (end >= page) return;
  AppendMapping(mappings_,
                {.offset_pages = static_cast<uint32_t>(end), .length_pages = static_cast<uint32_t>(page - end)});
}

void Composer::AddUnshared(uint64_t page, uint64_t count) {
  const uint64_t start_bytes = page * kPageBytes;
  const uint64_t end_bytes = (page + count) * kPageBytes;
  // Two runs may meet inside one page.
  if (!unshared_.empty() && start_bytes <= unshared_.back().end_bytes()) {
    unshared_.back().length_bytes = std::max(end_bytes, unshared_.back().end_bytes()) - unshared_.back().offset_bytes;
  } else {
    unshared_.push_back({start_bytes, end_bytes - start_bytes});
  }
}

void Composer::Add(const RemapRun& run) {
  const uint64_t end_bytes = run.end_bytes();
  const uint64_t first_page = run.offset_bytes / kPageBytes;
  const uint64_t end_page = PagesFor(end_bytes);
  const bool aligned = run.offset_bytes % kPageBytes == run.source_offset_bytes % kPageBytes;
  const uint64_t first_whole = PagesFor(run.offset_bytes);
  const uint64_t end_whole = end_bytes / kPageBytes;
  if (!aligned || first_whole >= end_whole) {
    AddUnshared(first_page, end_page - first_page);
    return;
  }
  if (first_page < first_whole) AddUnshared(first_page, 1);
  AddPages({.target = first_whole, .source = PagesFor(run.source_offset_bytes), .count = end_whole - first_whole});
  if (end_whole < end_page) AddUnshared(end_whole, 1);
}

void Composer::AddPages(PageRun run) {
  auto change = std::partition_point(changes_.begin(), changes_.end(),
                                     [&](const BlockRun& candidate) { return candidate.end_block() <= run.source; });
  while (run.count > 0) {
    const bool is_changed = change != changes_.end() && change->first_block <= run.source;
    const uint64_t part_end = is_changed                 ? change->end_block()
                              : change == changes_.end() ? run.source + run.count
                                                         : change->first_block;
    const uint64_t count = std::min(run.count, part_end - run.source);
    if (!is_changed) {
      AddStored({run.target, run.source, count});
    } else {
      if (change->state == BlockState::kData) AddUnshared(run.target, count);
      ++change;
    }
    run = {run.target + count, run.source + count, run.count - count};
  }
}

void Composer::AddStored(PageRun run) {
  FillTo(run.target);
  // Beyond the chain's end an overlay reads as zeros, which is what FillTo makes of it.
  if (run.source >= index_.page_count()) return;
  run.count = std::min(run.count, index_.page_count() - run.source);
  shared_.push_back({.offset_bytes = run.target * kPageBytes,
                     .source_offset_bytes = run.source * kPageBytes,
                     .length_bytes = run.count * kPageBytes});
  for (size_t at = index_.Find(run.source); run.count > 0; ++at) {
    const Mapping stored = index_.At(at);
    const uint64_t count = std::min(run.count, stored.end_pages() - run.source);
    const bool is_zero = stored.source == kZeroSource;
    AppendMapping(mappings_,
                  {.offset_pages = static_cast<uint32_t>(run.target),
                   .length_pages = static_cast<uint32_t>(count),
                   .storage_pages =
                       is_zero ? 0 : static_cast<uint32_t>(stored.storage_pages + (run.source - stored.offset_pages)),
                   .source = stored.source});
    run = {run.target + count, run.source + count, run.count - count};
  }
}

// The blocks of which source, the chain of parent or an overlay over it, has something else than the chain.
Result<std::vector<BlockRun>> ChangesOf(const Device& source, const Header& parent) {
  std::vector<BlockRun> changes;
  const auto* overlay = dynamic_cast<const OverlayDevice*>(&source);
  const OverlayView view = overlay == nullptr ? OverlayView{} : overlay->view();
  const Device& chain = overlay == nullptr ? source : *view.below;
  if (chain.size_bytes() != parent.size_bytes || view.below_as_cut != nullptr) {
    return Status::Invalid(kCompose, "the build " + parent.build.ToText() + " is not what lies below " + source.name());
  }
  if (overlay == nullptr) return changes;
  if (overlay->block_size() != kPageBytes || !overlay->frozen()) {
    return Status::Invalid(kCompose, "it takes a frozen overlay of 4096-byte blocks, not " + source.name());
  }
  ROOTLOOM_RETURN_IF_ERROR(view.upper->states().ForEachRun([&](const BlockRun& run) {
    if (run.state != BlockState::kAbsent) changes.push_back(run);
    return Status::Ok();
  }));
  return changes;
}

}  // namespace

Result<Composition> ComposeHeader(const Header& parent, const RemapDevice& target) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto changes, ChangesOf(*target.source(), parent));
  const uint64_t page_count = PagesFor(target.size_bytes());
  if (target.size_bytes() % kPageBytes != 0 || page_count > kMaxPages) {
    return Status::Invalid(kCompose, "a disk of " + std::to_string(target.size_bytes()) + " bytes cannot be described");
  }
  Composer composer(parent, std::move(changes), page_count);
  for (const RemapRun& run : target.runs()) composer.Add(run);
  composer.Finish();

  Composition composition{.header = parent, .shared = composer.TakeShared(), .unshared = composer.TakeUnshared()};
  composition.header.size_bytes = target.size_bytes();
  composition.header.mappings = composer.TakeMappings();
  ROOTLOOM_RETURN_IF_ERROR(NormalizeHeader(composition.header, kCompose, StatusKind::kInvalidArgument));
  return composition;
}

}  // namespace rootloom
