// The stored layouts, in parts, and the constants that bound them. Internal to the header codec.
#pragma once

#include <cstdint>
#include <string>

#include "native/chain/byte_cursor.h"
#include "native/chain/header.h"
#include "native/util/status.h"

namespace rootloom {

inline constexpr char kDecodeHeader[] = "decode header";
inline constexpr char kEncodeHeader[] = "encode header";

// The prefix of every version: version, block size, size, generation, build, base build.
inline constexpr size_t kPrefixBytes = 4 * sizeof(uint64_t) + 2 * sizeof(Uuid);
static_assert(kPrefixBytes == 64);

// One mapping record of V3 and V4: offset, length, build, storage offset.
inline constexpr size_t kRecordBytes = 3 * sizeof(uint64_t) + sizeof(Uuid);
static_assert(kRecordBytes == 40);

// V4 and V5: flags and the size of the inner part stand between the prefix and the LZ4 frame.
inline constexpr uint8_t kFlagIncomplete = 1;
inline constexpr uint64_t kMaxInnerBytes = 256ULL << 20;

// One build of the builds section without its frames: id, size, SHA-256, compression, frame count.
inline constexpr size_t kBuildBytes = sizeof(Uuid) + sizeof(uint64_t) + 32 + 2 * sizeof(uint32_t);
static_assert(kBuildBytes == 64);
// Every build that mappings may refer to, and the header's own.
inline constexpr size_t kMaxBuilds = kMaxSources + 1;
inline constexpr size_t kFrameBytes = 2 * sizeof(uint64_t) + 2 * sizeof(uint32_t);
static_assert(kFrameBytes == 24);
inline constexpr uint32_t kMaxFrames = 1 << 20;

// V5: 42 bytes are what an entry may cost a reader in memory, so that 256 MiB bound the count.
inline constexpr uint64_t kMaxColumnEntries = kMaxInnerBytes / 42;
static_assert(kMaxColumnEntries == 6391320);

// Every function below reads or writes exactly its section at the cursor. Readers check the section's own rules and
// leave those of the whole header to NormalizeHeader. On failure the header is left half filled.

// header_v3.cc: `count` records, as V3 (to the end of the file) and V4 (after a count) have them. No record at all
// stands for a device whose every page is in its own build's diff.
Status ReadRecords(ByteReader& reader, uint64_t count, Header& header);
void WriteRecords(const Header& header, ByteWriter& writer);

// header_v4.cc: the frame of V4 and V5 with everything in it.
Status ReadFramed(ByteReader& reader, Header& header);
Status WriteFramed(const Header& header, ByteWriter& writer);

// header_v5.cc: the columnar mapping section.
Status ReadColumns(ByteReader& reader, Header& header);
Status WriteColumns(const Header& header, ByteWriter& writer);

// header_builds.cc: the builds section of V4 and V5.
Status ReadBuilds(ByteReader& reader, Header& header);
void WriteBuilds(const Header& header, ByteWriter& writer);

inline Status CorruptHeader(std::string detail, std::optional<uint64_t> offset_bytes = std::nullopt) {
  return Status::Corrupt(kDecodeHeader, std::move(detail), offset_bytes);
}

}  // namespace rootloom
