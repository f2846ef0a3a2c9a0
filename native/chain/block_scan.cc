#include "native/chain/block_scan.h"

#include <algorithm>
#include <cstring>

#include "native/block/parts.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr size_t kPieceBytes = 1 << 20;
// Extents asked for at once.
constexpr size_t kExtentBatch = 256;

}  // namespace

BlockScan::BlockScan(const Options& options)
    : options_(options), piece_bytes_(std::max<size_t>(kPieceBytes, options.block_bytes)) {}

Status BlockScan::ScanFile(Range range, int fd, const std::string& path) {
  return ForEachPiece(range, [&](Range piece) -> Status {
    data_.resize(piece.length_bytes);
    ROOTLOOM_RETURN_IF_ERROR(PreadAll(fd, data_, piece.offset_bytes, path));
    return SortPiece(piece, [&](Range run) {
      return options_.writer.AddDataFrom(fd, run.offset_bytes, run.offset_bytes, run.length_bytes);
    });
  });
}

Status BlockScan::ScanDevice(Range range, Device& device) {
  const uint64_t block = options_.block_bytes;
  uint64_t position = range.offset_bytes;
  uint64_t scanned_to = range.offset_bytes;
  while (position < range.end_bytes()) {
    ROOTLOOM_RETURN_IF_ERROR(options_.context.CheckStopped("seal"));
    ROOTLOOM_ASSIGN_OR_RETURN(const auto extents,
                              device.Extents({position, range.end_bytes() - position}, kExtentBatch));
    for (const Extent& extent : extents) {
      position = extent.range.end_bytes();
      if (extent.kind != ExtentKind::kData) continue;
      // Whole blocks: what an extent has of one decides about all of it, once.
      const uint64_t start = std::max(extent.range.offset_bytes / block * block, scanned_to);
      const uint64_t end = std::min((position + block - 1) / block * block, range.end_bytes());
      if (start >= end) continue;
      Advance(start - scanned_to);
      ROOTLOOM_RETURN_IF_ERROR(ScanDataExtent({start, end - start}, device));
      scanned_to = end;
    }
  }
  Advance(range.end_bytes() - scanned_to);
  return Status::Ok();
}

Status BlockScan::ScanDataExtent(Range range, Device& device) {
  return ForEachPiece(range, [&](Range piece) -> Status {
    data_.resize(piece.length_bytes);
    ROOTLOOM_RETURN_IF_ERROR(device.Read(piece.offset_bytes, data_));
    return SortPiece(piece, [&](Range run) {
      const auto bytes = std::span(data_).subspan(run.offset_bytes - piece.offset_bytes, run.length_bytes);
      return options_.writer.AddData(run.offset_bytes, bytes);
    });
  });
}

void BlockScan::AddZeros(Range range) {
  MapZeros(range);
  Advance(range.length_bytes);
}

void BlockScan::MapZeros(Range range) {
  options_.writer.AddZeros(range.offset_bytes, range.length_bytes);
  counts_.zero += BlocksIn(range.length_bytes);
}

Status BlockScan::SortPiece(Range range, const StoreRun& store) {
  ROOTLOOM_RETURN_IF_ERROR(ReadBase(range));
  const std::span<const std::byte> data(data_);
  const std::span<const std::byte> base_data(base_data_);
  Range run{range.offset_bytes, 0};
  Verdict run_verdict = Verdict::kData;
  for (size_t at = 0; at < data.size(); at += options_.block_bytes) {
    const size_t size = std::min<size_t>(options_.block_bytes, data.size() - at);
    const Verdict verdict = Judge(data.subspan(at, size), base_data.empty() ? base_data : base_data.subspan(at, size));
    if (verdict != run_verdict) {
      ROOTLOOM_RETURN_IF_ERROR(HandOn(run_verdict, run, store));
      run = {run.end_bytes(), 0};
      run_verdict = verdict;
    }
    run.length_bytes += size;
  }
  return HandOn(run_verdict, run, store);
}

Status BlockScan::HandOn(Verdict verdict, Range run, const StoreRun& store) {
  if (run.length_bytes == 0) return Status::Ok();
  switch (verdict) {
    case Verdict::kSame:
      counts_.dropped += BlocksIn(run.length_bytes);
      return Status::Ok();
    case Verdict::kZero:
      MapZeros(run);
      return Status::Ok();
    case Verdict::kData:
      counts_.data += BlocksIn(run.length_bytes);
      return store(run);
  }
  return Status::Ok();
}

BlockScan::Verdict BlockScan::Judge(std::span<const std::byte> block, std::span<const std::byte> base_block) const {
  if (!base_block.empty() && std::memcmp(block.data(), base_block.data(), block.size()) == 0) return Verdict::kSame;
  return IsAllZero(block) ? Verdict::kZero : Verdict::kData;
}

Status BlockScan::ReadBase(Range range) {
  if (options_.base == nullptr) return Status::Ok();
  base_data_.assign(range.length_bytes, std::byte{0});
  const uint64_t base_bytes = options_.base->size_bytes();
  if (range.offset_bytes >= base_bytes) return Status::Ok();
  const size_t held = std::min(range.length_bytes, base_bytes - range.offset_bytes);
  return options_.base->Read(range.offset_bytes, std::span(base_data_).first(held));
}

Status BlockScan::ForEachPiece(Range range, const std::function<Status(Range)>& visit) {
  return ForEachPart(range, piece_bytes_, [&](Range piece) -> Status {
    ROOTLOOM_RETURN_IF_ERROR(options_.context.CheckStopped("seal"));
    ROOTLOOM_RETURN_IF_ERROR(visit(piece));
    Advance(piece.length_bytes);
    return Status::Ok();
  });
}

void BlockScan::Advance(uint64_t length_bytes) {
  done_bytes_ += length_bytes;
  options_.context.report({.step = "seal", .done = done_bytes_, .total = options_.total_bytes});
}

uint64_t BlockScan::BlocksIn(uint64_t length_bytes) const {
  return (length_bytes + options_.block_bytes - 1) / options_.block_bytes;
}

}  // namespace rootloom
