#include "native/block/remap_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/block/extent_list.h"

namespace rootloom {

namespace {

constexpr char kMap[] = "lay out a device anew";
// Extents of the source asked for at once.
constexpr size_t kExtentBatch = 256;

bool Overflows(uint64_t offset_bytes, uint64_t length_bytes, uint64_t size_bytes) {
  return offset_bytes > size_bytes || length_bytes > size_bytes - offset_bytes;
}

// The first run that ends behind offset_bytes.
std::span<const RemapRun>::iterator FirstBehind(std::span<const RemapRun> runs, uint64_t offset_bytes) {
  return std::partition_point(runs.begin(), runs.end(),
                              [offset_bytes](const RemapRun& run) { return run.end_bytes() <= offset_bytes; });
}

}  // namespace

Result<std::shared_ptr<RemapDevice>> RemapDevice::Create(std::shared_ptr<Device> source, uint64_t size_bytes) {
  return std::shared_ptr<RemapDevice>(new RemapDevice(std::move(source), size_bytes));
}

Status RemapDevice::Map(std::vector<RemapRun> runs) {
  uint64_t end_bytes = 0;
  for (const RemapRun& run : runs) {
    if (run.length_bytes == 0 || run.offset_bytes < end_bytes ||
        Overflows(run.offset_bytes, run.length_bytes, size_bytes_) ||
        Overflows(run.source_offset_bytes, run.length_bytes, source_->size_bytes())) {
      return Status::Invalid(
          kMap, "the run at " + std::to_string(run.offset_bytes) + " is empty, out of order or outside of a device");
    }
    end_bytes = run.end_bytes();
  }
  if (mapping_.test_and_set()) return Status::Invalid(kMap, "it has been laid out already");
  runs_ = std::move(runs);
  mapped_.store(true, std::memory_order_release);
  return Status::Ok();
}

std::span<const RemapRun> RemapDevice::runs() const {
  if (!mapped_.load(std::memory_order_acquire)) return {};
  return runs_;
}

Status RemapDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  const std::span<const RemapRun> all = runs();
  auto run = FirstBehind(all, offset_bytes);
  while (!buffer.empty()) {
    const uint64_t run_start = run == all.end() ? size_bytes_ : run->offset_bytes;
    size_t count = 0;
    if (offset_bytes < run_start) {
      count = std::min<uint64_t>(buffer.size(), run_start - offset_bytes);
      std::memset(buffer.data(), 0, count);
    } else {
      count = std::min<uint64_t>(buffer.size(), run->end_bytes() - offset_bytes);
      ROOTLOOM_RETURN_IF_ERROR(
          source_->Read(run->source_offset_bytes + (offset_bytes - run->offset_bytes), buffer.first(count)));
      ++run;
    }
    buffer = buffer.subspan(count);
    offset_bytes += count;
  }
  return Status::Ok();
}

Result<std::vector<Extent>> RemapDevice::DoExtents(Range range, size_t max_count) {
  const std::span<const RemapRun> all = runs();
  ExtentList extents(max_count);
  uint64_t offset_bytes = range.offset_bytes;
  auto run = FirstBehind(all, offset_bytes);
  while (offset_bytes < range.end_bytes()) {
    const uint64_t run_start = run == all.end() ? range.end_bytes() : std::min(run->offset_bytes, range.end_bytes());
    if (offset_bytes < run_start) {
      if (!extents.Add({{offset_bytes, run_start - offset_bytes}, ExtentKind::kHole})) break;
      offset_bytes = run_start;
      continue;
    }
    const uint64_t end_bytes = std::min(run->end_bytes(), range.end_bytes());
    const uint64_t source_bytes = run->source_offset_bytes + (offset_bytes - run->offset_bytes);
    ROOTLOOM_ASSIGN_OR_RETURN(const auto parts,
                              source_->Extents({source_bytes, end_bytes - offset_bytes}, kExtentBatch));
    for (const Extent& part : parts) {
      if (!extents.Add({{offset_bytes, part.range.length_bytes}, part.kind})) return std::move(extents).Take();
      offset_bytes += part.range.length_bytes;
    }
    if (offset_bytes == run->end_bytes()) ++run;
  }
  return std::move(extents).Take();
}

Status RemapDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte>, Durability) {
  return Status::Errno("write", name(), EROFS, offset_bytes);
}

Status RemapDevice::DoZero(Range range, Durability) { return Status::Errno("zero", name(), EROFS, range.offset_bytes); }

Status RemapDevice::DoTrim(Range range) { return Status::Errno("trim", name(), EROFS, range.offset_bytes); }

}  // namespace rootloom
