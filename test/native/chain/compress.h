// Makes compressed diffs, as an uploader does: frames packed one by one and put behind each other.
#pragma once

#include <lz4frame.h>
#include <zstd.h>

#include "test/native/chain/chain_fixture.h"

namespace rootloom::testing {

struct CompressedDiff {
  Bytes stored;
  FrameTable table;
};

inline Bytes PackZstd(std::span<const std::byte> data) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  Bytes packed(ZSTD_compressBound(data.size()));
  packed.resize(ZSTD_compress2(context, packed.data(), packed.size(), data.data(), data.size()));
  ZSTD_freeCCtx(context);
  return packed;
}

// As uploaders set it: block checksums, no content checksum.
inline Bytes PackLz4(std::span<const std::byte> data) {
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max4MB;
  preferences.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
  Bytes packed(LZ4F_compressFrameBound(data.size(), &preferences));
  packed.resize(LZ4F_compressFrame(packed.data(), packed.size(), data.data(), data.size(), &preferences));
  return packed;
}

inline CompressedDiff CompressDiff(std::span<const std::byte> diff, Compression compression, size_t frame_bytes) {
  CompressedDiff result;
  result.table.compression = diff.empty() ? Compression::kNone : compression;
  for (size_t start = 0; start < diff.size(); start += frame_bytes) {
    const auto data = diff.subspan(start, std::min(frame_bytes, diff.size() - start));
    const Bytes packed = compression == Compression::kZstd ? PackZstd(data) : PackLz4(data);
    result.table.frames.push_back(Frame{.start_bytes = start,
                                        .stored_start_bytes = result.stored.size(),
                                        .size_bytes = static_cast<uint32_t>(data.size()),
                                        .stored_size_bytes = static_cast<uint32_t>(packed.size())});
    result.stored.insert(result.stored.end(), packed.begin(), packed.end());
  }
  return result;
}

}  // namespace rootloom::testing
