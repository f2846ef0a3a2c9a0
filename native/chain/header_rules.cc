// NormalizeHeader: the rules of a header as a whole, the same for every layout.
#include <algorithm>
#include <bit>

#include "native/chain/header_layout.h"

namespace rootloom {

namespace {

// Of any number of bytes or builds: what JavaScript can hold exactly, and far above all that exists.
constexpr uint64_t kMaxNumber = (1ULL << 53) - 1;

struct StoredBytes {
  uint64_t start_bytes;
  uint64_t end_bytes;
};

// Which frames of one build its mappings need. Each mark costs two binary searches, however many frames it covers.
class FrameUse {
 public:
  // False when the frames do not hold all of the range. REQUIRES: always the same frames, not empty
  bool Mark(const std::vector<Frame>& frames, StoredBytes range) {
    if (steps_.empty()) Prepare(frames);
    const auto first = std::partition_point(frames.begin(), frames.end(),
                                            [&](const Frame& frame) { return frame.end_bytes() <= range.start_bytes; });
    const auto end = std::partition_point(first, frames.end(),
                                          [&](const Frame& frame) { return frame.start_bytes < range.end_bytes; });
    if (first == end || first->start_bytes > range.start_bytes || (end - 1)->end_bytes() < range.end_bytes)
      return false;
    const auto first_index = static_cast<size_t>(first - frames.begin());
    const auto end_index = static_cast<size_t>(end - frames.begin());
    if (row_starts_[end_index - 1] > first_index) return false;
    steps_[first_index] += 1;
    steps_[end_index] -= 1;
    return true;
  }

  // Leaves out the frames without a mark, or none when there was no mark at all: then no mapping refers to the build.
  void Trim(std::vector<Frame>& frames) const {
    if (steps_.empty()) return;
    int32_t marks = 0;
    size_t index = 0;
    std::erase_if(frames, [&](const Frame&) {
      marks += steps_[index++];
      return marks == 0;
    });
    frames.shrink_to_fit();
  }

 private:
  void Prepare(const std::vector<Frame>& frames) {
    steps_.resize(frames.size() + 1);
    row_starts_.resize(frames.size());
    for (size_t index = 1; index < frames.size(); ++index) {
      const bool joins = frames[index - 1].end_bytes() == frames[index].start_bytes;
      row_starts_[index] = joins ? row_starts_[index - 1] : static_cast<uint32_t>(index);
    }
  }

  std::vector<int32_t> steps_;        // one more where a mark begins, one less where it ends
  std::vector<uint32_t> row_starts_;  // for each frame, the first of those that it follows without a gap
};

class Normalizer {
 public:
  Normalizer(Header& header, const char* operation, StatusKind failure_kind)
      : header_(header), operation_(operation), failure_kind_(failure_kind) {}

  Status Run() {
    ROOTLOOM_RETURN_IF_ERROR(CheckPrefix());
    ROOTLOOM_RETURN_IF_ERROR(CheckSources());
    ROOTLOOM_RETURN_IF_ERROR(CheckAndJoinMappings());
    ROOTLOOM_RETURN_IF_ERROR(CheckBuilds());
    return RelateBuilds();
  }

 private:
  Status Fail(std::string detail) const {
    return Failure{.kind = failure_kind_, .operation = operation_, .detail = std::move(detail)};
  }

  Status CheckPrefix() const {
    if (header_.version > kMaxNumber || header_.generation > kMaxNumber) {
      return Fail("its version or generation is above 2^53 - 1");
    }
    if (header_.block_size < kPageBytes || header_.block_size > kMaxBlockBytes ||
        !std::has_single_bit(header_.block_size)) {
      return Fail("its block size is " + std::to_string(header_.block_size) +
                  ", a power of two from 4096 to 2^30 was expected");
    }
    if (PagesFor(header_.size_bytes) > kMaxPages) return Fail("its device is larger than 16 TiB");
    if (header_.build.is_nil()) return Fail("its build id is nil");
    return Status::Ok();
  }

  Status CheckSources() const {
    if (header_.sources.size() > kMaxSources) return Fail("it refers to more than 65535 builds");
    std::vector<Uuid> sorted = header_.sources;
    std::sort(sorted.begin(), sorted.end());
    if (!sorted.empty() && sorted.front().is_nil()) return Fail("a mapping's build id is nil");
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return Fail("it names a build twice");
    return Status::Ok();
  }

  // In one pass, for there may be millions: checks the mappings, joins those that read on, lists the builds that they
  // refer to by first appearance, and no others, and notes how much of each must be stored. Field by field: a mapping
  // that was just written in fields cannot be read as a whole before the processor has stored it.
  Status CheckAndJoinMappings() {
    auto& mappings = header_.mappings;
    std::vector<uint16_t> new_sources(header_.sources.size(), kZeroSource);
    std::vector<Uuid> ordered;
    uint64_t position = 0;  // where the next mapping must start
    uint16_t last_source = kZeroSource;
    uint64_t last_stored_end = 0;
    size_t kept = 0;
    for (size_t index = 0; index < mappings.size(); ++index) {
      const Mapping& found = mappings[index];
      const uint32_t length = found.length_pages;
      const bool is_zero = found.source == kZeroSource;
      const uint32_t storage = is_zero ? 0 : found.storage_pages;
      const uint64_t stored_end = uint64_t{storage} + length;
      if (found.offset_pages != position || length == 0 || !(is_zero || found.source < new_sources.size()) ||
          stored_end > kMaxPages + 1) {
        return RefuseMapping(index, found, position);
      }
      uint16_t source = kZeroSource;
      if (!is_zero) {
        uint16_t& new_source = new_sources[found.source];
        if (new_source == kZeroSource) {
          new_source = static_cast<uint16_t>(ordered.size());
          ordered.push_back(header_.sources[found.source]);
          stored_ends_.push_back(0);
        }
        source = new_source;
        stored_ends_[source] = std::max(stored_ends_[source], stored_end);
      }
      if (kept > 0 && source == last_source && (is_zero || storage == last_stored_end)) {
        mappings[kept - 1].length_pages += length;
      } else {
        Mapping& mapping = mappings[kept++];
        mapping.offset_pages = static_cast<uint32_t>(position);
        mapping.length_pages = length;
        mapping.storage_pages = storage;
        mapping.source = source;
      }
      position += length;
      last_source = source;
      last_stored_end = stored_end;
    }
    if (position != PagesFor(header_.size_bytes)) {
      return Fail("its mappings end at page " + std::to_string(position) + ", the device at page " +
                  std::to_string(PagesFor(header_.size_bytes)));
    }
    mappings.resize(kept);
    mappings.shrink_to_fit();
    header_.sources = std::move(ordered);
    return Status::Ok();
  }

  Status RefuseMapping(size_t index, const Mapping& mapping, uint64_t position) const {
    const std::string which = "mapping " + std::to_string(index);
    if (mapping.offset_pages != position) {
      return Fail(which + " starts at page " + std::to_string(mapping.offset_pages) + ", page " +
                  std::to_string(position) + " was expected");
    }
    if (mapping.length_pages == 0) return Fail(which + " is empty");
    if (mapping.storage_end_pages() > kMaxPages + 1) return Fail(which + " is stored beyond 16 TiB");
    return Fail(which + " names a build that is not listed");
  }

  Status CheckBuilds() {
    auto& builds = header_.builds;
    if (builds.size() > kMaxBuilds) return Fail("it describes more than 65536 builds");
    std::sort(builds.begin(), builds.end(), [](const BuildData& a, const BuildData& b) { return a.build < b.build; });
    for (size_t index = 0; index < builds.size(); ++index) {
      const BuildData& data = builds[index];
      if (data.build.is_nil()) return Fail("a build that it describes has a nil id");
      if (index > 0 && builds[index - 1].build == data.build) {
        return Fail("it describes build " + data.build.ToText() + " twice");
      }
      if (data.size_bytes > kMaxNumber) return Fail("the size of build " + data.build.ToText() + " is not possible");
      ROOTLOOM_RETURN_IF_ERROR(CheckFrames(data));
    }
    return Status::Ok();
  }

  Status CheckFrames(const BuildData& data) const {
    const FrameTable& table = data.table;
    const std::string which = "the frame table of build " + data.build.ToText();
    if (table.compression > Compression::kLz4) return Fail(which + " has a compression that is not known");
    if (table.frames.empty() != (table.compression == Compression::kNone) || table.frames.size() > kMaxFrames) {
      return Fail(which + " does not fit its compression");
    }
    uint64_t end_bytes = 0;
    uint64_t stored_end_bytes = 0;
    for (const Frame& frame : table.frames) {
      if (frame.size_bytes == 0 || frame.size_bytes > INT32_MAX || frame.stored_size_bytes == 0 ||
          frame.stored_size_bytes > INT32_MAX) {
        return Fail(which + " has a frame of no or negative size");
      }
      if (frame.start_bytes < end_bytes || frame.start_bytes > kMaxNumber - frame.size_bytes ||
          frame.stored_start_bytes < stored_end_bytes ||
          frame.stored_start_bytes > kMaxNumber - frame.stored_size_bytes) {
        return Fail(which + " has overlapping or unordered frames");
      }
      end_bytes = frame.end_bytes();
      stored_end_bytes = frame.stored_start_bytes + frame.stored_size_bytes;
    }
    if (data.size_bytes != 0 && end_bytes > data.size_bytes) return Fail(which + " goes beyond the build's size");
    return Status::Ok();
  }

  // Checks each mapping against its build's size, and trims the frame tables to what mappings need.
  Status RelateBuilds() {
    std::vector<SourceFacts> facts;
    bool all_sure = true;
    for (size_t source = 0; source < header_.sources.size(); ++source) {
      facts.push_back(FactsOf(header_.sources[source]));
      all_sure = all_sure && stored_ends_[source] <= facts.back().sure_pages;
    }
    if (all_sure) return Status::Ok();
    std::vector<FrameUse> uses(header_.builds.size());
    for (size_t index = 0; index < header_.mappings.size(); ++index) {
      const Mapping& mapping = header_.mappings[index];
      if (mapping.source == kZeroSource) continue;
      const SourceFacts& source = facts[mapping.source];
      if (mapping.storage_end_pages() <= source.sure_pages) continue;
      const BuildData& data = header_.builds[source.build];
      const StoredBytes stored = StoredRange(mapping);
      if (data.size_bytes != 0 && stored.end_bytes > data.size_bytes) {
        return Fail("mapping " + std::to_string(index) + " ends at byte " + std::to_string(stored.end_bytes) +
                    " of build " + data.build.ToText() + ", which has " + std::to_string(data.size_bytes));
      }
      if (!data.table.frames.empty() && !uses[source.build].Mark(data.table.frames, stored)) {
        return Fail("mapping " + std::to_string(index) + " needs bytes of build " + data.build.ToText() +
                    " that are in none of its frames");
      }
    }
    for (size_t build = 0; build < uses.size(); ++build) uses[build].Trim(header_.builds[build].table.frames);
    return Status::Ok();
  }

  struct SourceFacts {
    size_t build;         // its index, if it is described
    uint64_t sure_pages;  // mappings that end there or before are stored in it, and there is nothing to note of them
  };

  SourceFacts FactsOf(const Uuid& source) const {
    const size_t build = IndexOfBuild(source);
    if (build == header_.builds.size()) return {build, UINT64_MAX};
    const BuildData& data = header_.builds[build];
    if (!data.table.frames.empty()) return {build, 0};
    return {build, data.size_bytes == 0 ? UINT64_MAX : data.size_bytes / kPageBytes};
  }

  size_t IndexOfBuild(const Uuid& id) const {
    const auto& builds = header_.builds;
    const auto found = std::lower_bound(builds.begin(), builds.end(), id,
                                        [](const BuildData& data, const Uuid& wanted) { return data.build < wanted; });
    return found != builds.end() && found->build == id ? static_cast<size_t>(found - builds.begin()) : builds.size();
  }

  // The bytes of the diff that reading the mapping touches; the device may end within its last page.
  StoredBytes StoredRange(const Mapping& mapping) const {
    const uint64_t device_start = uint64_t{mapping.offset_pages} * kPageBytes;
    const uint64_t device_end = std::min(mapping.end_pages() * kPageBytes, header_.size_bytes);
    const uint64_t start = uint64_t{mapping.storage_pages} * kPageBytes;
    return {start, start + (device_end - device_start)};
  }

  Header& header_;
  const char* operation_;
  StatusKind failure_kind_;
  std::vector<uint64_t> stored_ends_;  // of each source: where the last page that a mapping needs ends
};

}  // namespace

Status NormalizeHeader(Header& header, const char* operation, StatusKind failure_kind) {
  return Normalizer(header, operation, failure_kind).Run();
}

}  // namespace rootloom
