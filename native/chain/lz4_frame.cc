#include "native/chain/lz4_frame.h"

#include <lz4frame.h>
#define XXH_INLINE_ALL  // The header is the library.
#include <xxhash.h>

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "native/util/endian.h"

namespace rootloom {

namespace {

constexpr char kUnpack[] = "unpack LZ4 frame";
// Below this, checksums cost less than the threads that would verify them.
constexpr size_t kLargeBytes = 1 << 20;

struct FreeContext {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

Status Unpack(std::span<const std::byte> packed, std::span<std::byte> target, bool skips_checksums) {
  LZ4F_decompressOptions_t options{};
  options.skipChecksums = skips_checksums ? 1 : 0;
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
    hint = LZ4F_decompress(context.get(), full ? &spare : target.data(), &produced, packed.data(), &consumed, &options);
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

// Where the parts of a frame are that LZ4F_decompress looks into by itself.
struct FrameLayout {
  size_t header_bytes;
  bool has_block_checksums;
  bool has_content_checksum;
};

std::optional<FrameLayout> LayoutOf(std::span<const std::byte> packed) {
  LZ4F_dctx* raw_context = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&raw_context, LZ4F_VERSION))) return std::nullopt;
  const std::unique_ptr<LZ4F_dctx, FreeContext> context(raw_context);
  LZ4F_frameInfo_t info = LZ4F_INIT_FRAMEINFO;
  size_t header_bytes = packed.size();
  if (LZ4F_isError(LZ4F_getFrameInfo(context.get(), &info, packed.data(), &header_bytes))) return std::nullopt;
  return FrameLayout{.header_bytes = header_bytes,
                     .has_block_checksums = info.blockChecksumFlag == LZ4F_blockChecksumEnabled,
                     .has_content_checksum = info.contentChecksumFlag == LZ4F_contentChecksumEnabled};
}

// Whether every block is what its checksum says; blocks are a length (whose top bit means "not packed"), that many
// bytes and the checksum, and a length of 0 is the last.
bool AreBlocksWhole(std::span<const std::byte> blocks) {
  while (blocks.size() >= sizeof(uint32_t)) {
    const uint64_t length = LoadLittle<uint32_t>(blocks.data()) & 0x7fffffff;
    blocks = blocks.subspan(sizeof(uint32_t));
    if (length == 0) return true;
    if (length + sizeof(uint32_t) > blocks.size()) return false;
    if (XXH32(blocks.data(), length, 0) != LoadLittle<uint32_t>(blocks.data() + length)) return false;
    blocks = blocks.subspan(length + sizeof(uint32_t));
  }
  return false;
}

// Runs check on a thread of its own, or, when there is none to be had, by whoever asks for its result.
template <typename Check>
std::future<bool> RunBeside(Check check) {
  return std::async(std::launch::async | std::launch::deferred, std::move(check));
}

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
  return Unpack(packed, target, false);
}

Status UseLz4Frame(std::span<const std::byte> packed, std::span<std::byte> target, const std::function<Status()>& use) {
  const auto layout = target.size() < kLargeBytes ? std::nullopt : LayoutOf(packed);
  if (!layout || !layout->has_block_checksums || !layout->has_content_checksum) {
    ROOTLOOM_RETURN_IF_ERROR(Unpack(packed, target, false));
    return use();
  }
  auto blocks = RunBeside([blocks = packed.subspan(layout->header_bytes)] { return AreBlocksWhole(blocks); });
  ROOTLOOM_RETURN_IF_ERROR(Unpack(packed, target, true));
  // The frame was the whole of packed, and so ends with the checksum.
  const auto wanted = LoadLittle<uint32_t>(packed.last(sizeof(uint32_t)).data());
  auto content = RunBeside([target, wanted] { return XXH32(target.data(), target.size(), 0) == wanted; });
  Status used = use();
  if (!blocks.get()) return Status::Corrupt(kUnpack, "its LZ4 frame is damaged: a block is not what its checksum says");
  if (!content.get()) return Status::Corrupt(kUnpack, "its LZ4 frame is damaged: it is not what its checksum says");
  return used;
}

}  // namespace rootloom
