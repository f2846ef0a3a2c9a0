#include "native/chain/gathered_read.h"

#include <utility>

namespace rootloom {

Status GatheredRead::Add(Diff& diff, uint64_t stored_offset_bytes, std::span<std::byte> part) {
  for (Row& row : rows_) {
    if (!Extends(row, diff, stored_offset_bytes)) continue;
    if (stored_offset_bytes > row.end_bytes) Append(row, gap_, stored_offset_bytes - row.end_bytes);
    Append(row, part.data(), part.size());
    return Status::Ok();
  }
  Row& row = rows_[std::exchange(next_row_, (next_row_ + 1) % kMaxRows)];
  ROOTLOOM_RETURN_IF_ERROR(Submit(row));
  row.diff = &diff;
  row.begin_bytes = row.end_bytes = stored_offset_bytes;
  row.part_count = 0;
  Append(row, part.data(), part.size());
  return Status::Ok();
}

Status GatheredRead::Finish() {
  for (Row& row : rows_) ROOTLOOM_RETURN_IF_ERROR(Submit(row));
  return Status::Ok();
}

bool GatheredRead::Extends(const Row& row, const Diff& diff, uint64_t stored_offset_bytes) const {
  if (row.diff != &diff || row.part_count + 2 > kMaxParts || stored_offset_bytes < row.end_bytes) return false;
  // What nothing maps need not be in a compressed diff's frames.
  return stored_offset_bytes - row.end_bytes <= (diff.compressed() ? 0 : kMaxGapBytes);
}

void GatheredRead::Append(Row& row, void* target, uint64_t length_bytes) {
  row.parts[row.part_count++] = {target, length_bytes};
  row.end_bytes += length_bytes;
}

Status GatheredRead::Submit(Row& row) {
  Diff* const diff = std::exchange(row.diff, nullptr);
  return diff == nullptr ? Status::Ok() : diff->Read(row.begin_bytes, {row.parts, row.part_count});
}

}  // namespace rootloom
