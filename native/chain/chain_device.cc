#include "native/chain/chain_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/block/extent_list.h"
#include "native/chain/gathered_read.h"

namespace rootloom {

namespace {

constexpr char kOpenChain[] = "open chain";
constexpr size_t kCacheBytes = 32 << 20;
// Of the 65,530 mappings that a process may have by default. What is in further diffs is read.
constexpr int kMaxMappings = 4096;

// The public calls refuse changes of a device that is not writable before they get here.
Status RefuseChange() { return Failure{.kind = StatusKind::kIo, .operation = "change chain", .error_number = EROFS}; }

}  // namespace

ChainDevice::ChainDevice(const Header& header)
    : build_(header.build),
      sources_(header.sources),
      size_bytes_(header.size_bytes),
      block_size_(header.block_size),
      index_(header.mappings),
      cache_(kCacheBytes),
      mappings_left_(kMaxMappings) {}

Result<std::shared_ptr<ChainDevice>> ChainDevice::Open(const Header& header, const ResolveDiff& resolve) {
  const std::string chain = header.build.ToText();
  if (header.incomplete) {
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = kOpenChain,
                   .detail = "its header was written before its data was stored, a final one is needed",
                   .path = chain};
  }
  std::shared_ptr<ChainDevice> device(new ChainDevice(header));
  for (const Uuid& build : header.sources) {
    std::optional<BuildData> data = FindBuildData(header, build);
    if (!data) {
      return Failure{.kind = StatusKind::kCorrupt,
                     .operation = kOpenChain,
                     .detail = "its header does not say how the data of build " + build.ToText() + " is stored",
                     .path = chain};
    }
    std::optional<std::string> path = resolve(build);
    if (!path) {
      return Failure{.kind = StatusKind::kNotFound,
                     .operation = kOpenChain,
                     .detail = "the data of build " + build.ToText() + " is needed, and nothing says where it is",
                     .path = chain,
                     .error_number = ENOENT};
    }
    device->diffs_.push_back(
        std::make_unique<Diff>(Diff::Source{.path = *std::move(path),
                                            .data = *std::move(data),
                                            .cache_key = static_cast<uint32_t>(device->diffs_.size()),
                                            .cache = &device->cache_,
                                            .mappings_left = &device->mappings_left_}));
  }
  return device;
}

Status ChainDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  const size_t index = index_.Find(offset_bytes / kPageBytes);
  const Stored first = StoredAt(index, offset_bytes, buffer.size());
  if (first.length_bytes < buffer.size()) return ReadMany(index, offset_bytes, buffer);
  if (first.diff != nullptr) {
    ROOTLOOM_RETURN_IF_ERROR(first.diff->Read(first.offset_bytes, buffer));
    NoteRead(first);
    return Status::Ok();
  }
  std::memset(buffer.data(), 0, buffer.size());
  return Status::Ok();
}

Status ChainDevice::ReadMany(size_t index, uint64_t offset_bytes, std::span<std::byte> buffer) {
  GatheredRead read;
  for (; !buffer.empty(); ++index) {
    const Stored stored = StoredAt(index, offset_bytes, buffer.size());
    const auto part = buffer.first(stored.length_bytes);
    if (stored.diff == nullptr) {
      std::memset(part.data(), 0, part.size());
    } else {
      NoteRead(stored);
      ROOTLOOM_RETURN_IF_ERROR(read.Add(*stored.diff, stored.offset_bytes, part));
    }
    buffer = buffer.subspan(part.size());
    offset_bytes += part.size();
  }
  return read.Finish();
}

std::span<const std::byte> ChainDevice::DoBorrow(Range range, Lenders& lenders) {
  const size_t index = index_.Find(range.offset_bytes / kPageBytes);
  const Stored stored = StoredAt(index, range.offset_bytes, range.length_bytes);
  if (stored.diff == nullptr || stored.length_bytes < range.length_bytes) return {};
  if (!hot_pages_.Contains(stored.pages())) return {};
  lenders.Keep(*this);
  return stored.diff->Lend(stored.offset_bytes, stored.length_bytes);
}

void ChainDevice::NoteRead(const Stored& stored) {
  if (stored.diff->compressed()) return;
  hot_pages_.Note(stored.pages());
  if (!hot_pages_.StartOver()) return;
  for (const auto& diff : diffs_) diff->ForgetLent();
}

HotPages::Pages ChainDevice::Stored::pages() const {
  const uint64_t first = offset_bytes / kPageBytes;
  return {.diff = source, .first = first, .count = (offset_bytes + length_bytes + kPageBytes - 1) / kPageBytes - first};
}

ChainDevice::Stored ChainDevice::StoredAt(size_t index, uint64_t offset_bytes, uint64_t length_bytes) const {
  const Mapping mapping = index_.At(index);
  const uint64_t skip_bytes = offset_bytes - uint64_t{mapping.offset_pages} * kPageBytes;
  const uint64_t rest_bytes = uint64_t{mapping.length_pages} * kPageBytes - skip_bytes;
  return {.diff = mapping.source == kZeroSource ? nullptr : diffs_[mapping.source].get(),
          .source = mapping.source,
          .offset_bytes = uint64_t{mapping.storage_pages} * kPageBytes + skip_bytes,
          .length_bytes = std::min(length_bytes, rest_bytes)};
}

Status ChainDevice::DoWrite(uint64_t, std::span<const std::byte>, Durability) { return RefuseChange(); }
Status ChainDevice::DoZero(Range, Durability) { return RefuseChange(); }
Status ChainDevice::DoTrim(Range) { return RefuseChange(); }

void ChainDevice::DoPrefetch(std::span<const Range> ranges) {
  for (const Range& range : ranges) {
    uint64_t offset_bytes = range.offset_bytes;
    for (size_t index = index_.Find(offset_bytes / kPageBytes); offset_bytes < range.end_bytes(); ++index) {
      const Stored stored = StoredAt(index, offset_bytes, range.end_bytes() - offset_bytes);
      if (stored.diff != nullptr) stored.diff->Prefetch(stored.offset_bytes, stored.length_bytes);
      offset_bytes += stored.length_bytes;
    }
  }
}

template <typename List, typename PieceOf>
List ChainDevice::MapPieces(Range range, size_t max_count, const PieceOf& piece_of) const {
  List pieces(max_count);
  uint64_t offset_bytes = range.offset_bytes;
  for (size_t index = index_.Find(offset_bytes / kPageBytes); offset_bytes < range.end_bytes(); ++index) {
    const Mapping mapping = index_.At(index);
    const uint64_t end_bytes = std::min(mapping.end_pages() * kPageBytes, range.end_bytes());
    if (!pieces.Add(piece_of(Range{offset_bytes, end_bytes - offset_bytes}, mapping.source))) break;
    offset_bytes = end_bytes;
  }
  return pieces;
}

Result<std::vector<Extent>> ChainDevice::DoExtents(Range range, size_t max_count) {
  return MapPieces<ExtentList>(range, max_count,
                               [](Range piece, uint32_t source) {
                                 return Extent{piece, source == kZeroSource ? ExtentKind::kZero : ExtentKind::kData};
                               })
      .Take();
}

std::vector<std::string> ChainDevice::OriginNames() const {
  std::vector<std::string> names;
  for (const Uuid& build : sources_) names.push_back(build.ToText());
  return names;
}

Result<std::vector<Origin>> ChainDevice::DoOrigins(Range range, size_t max_count) {
  return MapPieces<OriginList>(range, max_count,
                               [](Range piece, uint32_t source) {
                                 return Origin{piece, source == kZeroSource ? kNoOrigin : source + 1};
                               })
      .Take();
}

}  // namespace rootloom
