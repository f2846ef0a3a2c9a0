// Header: what a stored header file says, and its codec. docs/formats.md describes the bytes.
//
// A header maps every page of an artifact to (build, place in that build's diff) or to zeros. It is already
// flattened: reading never walks ancestors. Three layouts exist (V3, V4, V5); all are read and written.
//
// Invariants of a normalised Header (DecodeHeader gives no other, EncodeHeader brings its argument there first):
//   1. mappings are in order, contiguous from 0, none empty, and end at ceil(size_bytes / 4096);
//   2. neighbours that read on from each other are one mapping; neighbouring zero mappings are one;
//   3. sources holds the builds that mappings refer to, each once, in order of first appearance;
//   4. builds is sorted by id, each once; a frame table holds only frames that some mapping needs, unless no mapping
//      refers to its build;
//   5. no mapping ends beyond the size of its build's diff, where that size is known, or needs bytes of a compressed
//   diff
//      that are in none of its frames.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/chain/mapping.h"
#include "native/util/status.h"
#include "native/util/uuid.h"

namespace rootloom {

enum class Compression : uint32_t { kNone = 0, kZstd = 1, kLz4 = 2 };

// One independently compressed piece of a diff.
struct Frame {
  uint64_t start_bytes = 0;         // in the uncompressed diff
  uint64_t stored_start_bytes = 0;  // in the stored object
  uint32_t size_bytes = 0;
  uint32_t stored_size_bytes = 0;

  uint64_t end_bytes() const { return start_bytes + size_bytes; }
  bool operator==(const Frame&) const = default;
};

struct FrameTable {
  Compression compression = Compression::kNone;
  std::vector<Frame> frames;  // in order of start_bytes, possibly with gaps; empty exactly with kNone

  bool operator==(const FrameTable&) const = default;
};

// How one build's diff is stored. Only V4 and V5 carry this.
struct BuildData {
  Uuid build;
  uint64_t size_bytes = 0;           // of the uncompressed diff; 0 when not known
  std::array<uint8_t, 32> sha256{};  // of the uncompressed diff; all zero when not known
  FrameTable table;

  bool operator==(const BuildData&) const = default;
};

// The largest block size that a header can have.
inline constexpr uint32_t kMaxBlockBytes = 1U << 30;

struct Header {
  uint64_t version = 3;  // the layout is its low 16 bits; the rest is kept as found
  uint32_t block_size = kPageBytes;
  uint64_t size_bytes = 0;
  uint64_t generation = 0;
  Uuid build;
  Uuid base_build;
  bool incomplete = false;  // V4 and V5: the data had not been stored yet when this was written
  std::vector<Uuid> sources;
  std::vector<Mapping> mappings;
  std::vector<BuildData> builds;

  uint16_t layout() const { return static_cast<uint16_t>(version); }
  bool operator==(const Header&) const = default;
};

// Reads a header file. Any bytes give a normalised header or fail: kUnsupported for a version, flag or codec that is
// not known here, kCorrupt for everything else. Memory is bounded by the formats' caps: at most 256 MiB is unpacked,
// and never more than the input can hold.
Result<Header> DecodeHeader(std::span<const std::byte> bytes);

// Writes header in the layout of its version (1 and 2 share that of 3). Fails with kInvalidArgument when the header
// breaks a rule that normalising cannot mend, or when the layout has no room for what it says: V3 knows neither
// compressed builds nor incomplete ones, and drops what it need not know of uncompressed ones.
Result<std::vector<std::byte>> EncodeHeader(Header header);

// Brings header to the invariants above, or fails with failure_kind and says which rule is broken.
Status NormalizeHeader(Header& header, const char* operation, StatusKind failure_kind);

// How the diff of build is stored according to header. A build without an entry is uncompressed and of unknown size
// when the layout has no entries (V3), or when it is the header's own build of a complete header; for any other the
// information is lost: nullopt. Guessing "uncompressed" there would read compressed bytes as disk content.
// REQUIRES: header is normalised
std::optional<BuildData> FindBuildData(const Header& header, const Uuid& build);

}  // namespace rootloom
