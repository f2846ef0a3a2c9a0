#include "native/chain/lz4_frame.h"

#include <lz4frame.h>

#include <memory>
#include <string>

namespace rootloom {

namespace {

constexpr char kUnpack[] = "unpack LZ4 frame";

struct FreeContext {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

}  // namespace

bool Lz4CanHold(uint64_t packed_bytes, uint64_t unpacked_bytes) { return unpacked_bytes / 255 <= packed_bytes; }

Result<std::vector<std::byte>> PackLz4Frame(std::span<const std::byte> data) {
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max4MB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  std::vector<std::byte> packed(LZ4F_compressFrameBound(data.size(), &preferences));
  const size_t size = LZ4F_compressFrame(packed.data(), packed.size(), data.data(), data.size(), &preferences);
  if (LZ4F_isError(size)) return Status::Invalid("pack LZ4 frame", LZ4F_getErrorName(size));
  packed.resize(size);
  return packed;
}

Status UnpackLz4Frame(std::span<const std::byte> packed, std::span<std::byte> target) {
  LZ4F_dctx* raw_context = nullptr;
  if (const size_t created = LZ4F_createDecompressionContext(&raw_context, LZ4F_VERSION); LZ4F_isError(created)) {
    return Failure{.kind = StatusKind::kIo, .operation = kUnpack, .detail = LZ4F_getErrorName(created)};
  }
  const std::unique_ptr<LZ4F_dctx, FreeContext> context(raw_context);
  size_t hint = 1;
  while (hint != 0) {
    // Once target is full, one spare byte tells a frame that goes on from one that only has its end mark left.
    std::byte spare;
    const bool full = target.empty();
    size_t produced = full ? 1 : target.size();
    size_t consumed = packed.size();
    hint = LZ4F_decompress(context.get(), full ? &spare : target.data(), &produced, packed.data(), &consumed, nullptr);
    if (LZ4F_isError(hint))
      return Status::Corrupt(kUnpack, std::string("its LZ4 frame is damaged: ") + LZ4F_getErrorName(hint));
    if (full && produced != 0) return Status::Corrupt(kUnpack, "its LZ4 frame holds more than it claims");
    if (hint != 0 && produced == 0 && consumed == 0) return Status::Corrupt(kUnpack, "its LZ4 frame ends too soon");
    target = target.subspan(full ? 0 : produced);
    packed = packed.subspan(consumed);
  }
  if (!target.empty()) return Status::Corrupt(kUnpack, "its LZ4 frame holds less than it claims");
  if (!packed.empty()) return Status::Corrupt(kUnpack, "bytes follow its LZ4 frame");
  return Status::Ok();
}

}  // namespace rootloom
