#include "native/ext4/rebuild/layout.h"

#include "native/ext4/mkfs.h"

namespace rootloom {

namespace {

// What one extent can name.
constexpr uint64_t kMaxWrittenBlocks = EXT_INIT_MAX_LEN;
constexpr uint64_t kMaxUnwrittenBlocks = EXT_UNINIT_MAX_LEN;

void AppendSegment(std::vector<Segment>& segments, Segment next) {
  if (!segments.empty() && next.first_block < segments.back().end_block) {
    // The first block is the last one's last, too: whoever has written it has the say.
    Segment& last = segments.back();
    if (next.written && !last.written) {
      last.end_block = next.first_block;
      if (last.first_block == last.end_block) segments.pop_back();
    } else {
      next.first_block = last.end_block;
    }
  }
  if (next.first_block >= next.end_block) return;
  if (!segments.empty() && segments.back().end_block == next.first_block && segments.back().written == next.written) {
    segments.back().end_block = next.end_block;
  } else {
    segments.push_back(next);
  }
}

// Adds what the part of the target shows of the written runs, of which run is the first that reaches into it.
void ShowContent(const FileRun& part, const std::vector<FileRun>& runs, uint32_t source_block_bytes, size_t& run,
                 std::vector<ContentRun>& content) {
  const uint64_t start = part.file_block * kMkfsBlockBytes;
  const uint64_t end = start + part.block_count * kMkfsBlockBytes;
  for (; run < runs.size(); ++run) {
    const uint64_t run_start = runs[run].file_block * source_block_bytes;
    const uint64_t run_end = run_start + runs[run].block_count * source_block_bytes;
    if (run_start >= end) return;
    const uint64_t from = std::max(start, run_start);
    const uint64_t to = std::min(end, run_end);
    if (from < to && runs[run].written) {
      AppendContentRun(content, {.target_bytes = part.device_block * kMkfsBlockBytes + (from - start),
                                 .source_bytes = runs[run].device_block * source_block_bytes + (from - run_start),
                                 .length_bytes = to - from});
    }
    if (run_end > end) return;
  }
}

}  // namespace

std::vector<Segment> SegmentsOf(const std::vector<FileRun>& runs, uint32_t source_block_bytes) {
  std::vector<Segment> segments;
  for (const FileRun& run : runs) {
    const uint64_t start = run.file_block * source_block_bytes;
    const uint64_t end = start + run.block_count * source_block_bytes;
    AppendSegment(segments, {.first_block = start / kMkfsBlockBytes,
                             .end_block = (end + kMkfsBlockBytes - 1) / kMkfsBlockBytes,
                             .written = run.written});
  }
  return segments;
}

void AppendContentRun(std::vector<ContentRun>& runs, const ContentRun& next) {
  if (!runs.empty()) {
    ContentRun& last = runs.back();
    if (last.target_bytes + last.length_bytes == next.target_bytes &&
        last.source_bytes + last.length_bytes == next.source_bytes) {
      last.length_bytes += next.length_bytes;
      return;
    }
  }
  runs.push_back(next);
}

Result<std::vector<FileRun>> LayOut(const std::vector<FileRun>& runs, uint32_t source_block_bytes, Space& space,
                                    std::vector<ContentRun>& content) {
  std::vector<FileRun> laid_out;
  size_t shown = 0;
  for (Segment segment : SegmentsOf(runs, source_block_bytes)) {
    const uint64_t limit = segment.written ? kMaxWrittenBlocks : kMaxUnwrittenBlocks;
    while (segment.first_block < segment.end_block) {
      ROOTLOOM_ASSIGN_OR_RETURN(const BlockRange range,
                                space.TakeContent(std::min(segment.end_block - segment.first_block, limit)));
      laid_out.push_back({.file_block = segment.first_block,
                          .device_block = range.start,
                          .block_count = range.count,
                          .written = segment.written});
      if (segment.written) ShowContent(laid_out.back(), runs, source_block_bytes, shown, content);
      segment.first_block += range.count;
    }
  }
  return laid_out;
}

}  // namespace rootloom
