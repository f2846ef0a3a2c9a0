#include "native/chain/lz4_frame.h"

#include <lz4frame.h>
#define XXH_INLINE_ALL  // The header is the library.
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include "native/util/endian.h"
#include "native/util/large_buffer.h"

namespace rootloom {

namespace {

constexpr char kUnpack[] = "unpack LZ4 frame";
// No block of a frame is larger, so that each is unpacked straight to its part. A frame of one part is unpacked quicker
// than threads are started that would help.
constexpr size_t kPartBytes = 4 << 20;

struct FreeContext {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

// Unpacks a frame from its beginning to its end.
class Decoder {
 public:
  static Result<std::unique_ptr<Decoder>> Create(std::span<const std::byte> packed, bool skips_checksums) {
    LZ4F_dctx* context = nullptr;
    if (const size_t created = LZ4F_createDecompressionContext(&context, LZ4F_VERSION); LZ4F_isError(created)) {
      return Failure{.kind = StatusKind::kIo, .operation = kUnpack, .detail = LZ4F_getErrorName(created)};
    }
    return std::unique_ptr<Decoder>(new Decoder(context, packed, skips_checksums));
  }

  // Fills target with what comes next.
  Status Fill(std::span<std::byte> target) {
    while (!target.empty()) {
      if (hint_ == 0) return Status::Corrupt(kUnpack, "its LZ4 frame holds less than it claims");
      ROOTLOOM_ASSIGN_OR_RETURN(const size_t produced, Advance(target));
      target = target.subspan(produced);
    }
    return Status::Ok();
  }

  // Fails unless the frame ends here, and packed with it.
  Status End() {
    std::byte spare;  // Tells a frame that goes on from one that only has its end mark left.
    while (hint_ != 0) {
      ROOTLOOM_ASSIGN_OR_RETURN(const size_t produced, Advance({&spare, 1}));
      if (produced != 0) return Status::Corrupt(kUnpack, "its LZ4 frame holds more than it claims");
    }
    return packed_.empty() ? Status::Ok() : Status::Corrupt(kUnpack, "bytes follow its LZ4 frame");
  }

 private:
  Decoder(LZ4F_dctx* context, std::span<const std::byte> packed, bool skips_checksums)
      : context_(context), packed_(packed) {
    options_.skipChecksums = skips_checksums ? 1 : 0;
  }

  Result<size_t> Advance(std::span<std::byte> target) {
    size_t produced = target.size();
    size_t consumed = packed_.size();
    hint_ = LZ4F_decompress(context_.get(), target.data(), &produced, packed_.data(), &consumed, &options_);
    if (LZ4F_isError(hint_)) {
      return Status::Corrupt(kUnpack, std::string("its LZ4 frame is damaged: ") + LZ4F_getErrorName(hint_));
    }
    if (hint_ != 0 && produced == 0 && consumed == 0) {
      return Status::Corrupt(kUnpack, "its LZ4 frame ends too soon");
    }
    packed_ = packed_.subspan(consumed);
    return produced;
  }

  const std::unique_ptr<LZ4F_dctx, FreeContext> context_;
  std::span<const std::byte> packed_;  // what is left of it
  LZ4F_decompressOptions_t options_{};
  size_t hint_ = 1;  // 0 once the frame has ended
};

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

// Runs task on a thread of its own, or, when there is none to be had, by whoever asks for its result.
template <typename Task>
auto Beside(Task task) {
  return std::async(std::launch::async | std::launch::deferred, std::move(task));
}

Status Damaged(const char* how) { return Status::Corrupt(kUnpack, std::string("its LZ4 frame is damaged: ") + how); }

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
  ROOTLOOM_ASSIGN_OR_RETURN(const auto decoder, Decoder::Create(packed, false));
  ROOTLOOM_RETURN_IF_ERROR(decoder->Fill(target));
  return decoder->End();
}

// ---- Part by part ----

class Lz4Parts::Work {
 public:
  Work(std::span<const std::byte> packed, size_t unpacked_bytes)
      : packed_(packed),
        unpacked_bytes_(unpacked_bytes),
        buffers_{LargeBuffer(kMaxRestBytes + std::min(unpacked_bytes, kPartBytes)),
                 LargeBuffer(unpacked_bytes > kPartBytes ? kMaxRestBytes + kPartBytes : 0)} {
    const auto layout = unpacked_bytes > kPartBytes ? LayoutOf(packed) : std::nullopt;
    auto decoder = Decoder::Create(packed, layout.has_value());
    status_ = decoder.status();
    if (!status_.ok()) return;
    decoder_ = std::move(decoder).value();
    if (layout && layout->has_block_checksums) {
      blocks_ = Beside([blocks = packed.subspan(layout->header_bytes)] { return AreBlocksWhole(blocks); });
    }
    if (layout && layout->has_content_checksum) XXH32_reset(&content_.emplace(), 0);
    BeginPart();
  }

  std::span<const std::byte> Next(std::span<const std::byte> rest) {
    if (!status_.ok() || given_bytes_ == unpacked_bytes_) return {};
    status_ = unpacking_.get();
    if (!status_.ok()) return {};
    const auto part = Room(begun_bytes_ - given_bytes_);
    std::byte* const start = part.data() - rest.size();
    if (!rest.empty()) std::memcpy(start, rest.data(), rest.size());
    given_bytes_ = begun_bytes_;
    turn_ = 1 - turn_;
    BeginPart();
    if (content_) XXH32_update(&*content_, part.data(), part.size());
    return {start, rest.size() + part.size()};
  }

  Status Finish() {
    while (status_.ok() && given_bytes_ < unpacked_bytes_) Next({});
    ROOTLOOM_RETURN_IF_ERROR(status_);
    ROOTLOOM_RETURN_IF_ERROR(decoder_->End());
    if (blocks_.valid() && !blocks_.get()) return Damaged("a block is not what its checksum says");
    // The frame was the whole of packed, and so ends with the checksum.
    if (content_ && XXH32_digest(&*content_) != LoadLittle<uint32_t>(packed_.last(sizeof(uint32_t)).data())) {
      return Damaged("it is not what its checksum says");
    }
    return Status::Ok();
  }

 private:
  std::span<std::byte> Room(size_t size) { return buffers_[turn_].span().subspan(kMaxRestBytes, size); }

  void BeginPart() {
    const size_t size = std::min(kPartBytes, unpacked_bytes_ - begun_bytes_);
    if (size == 0) return;
    begun_bytes_ += size;
    const auto fill = [this, target = Room(size)] { return decoder_->Fill(target); };
    unpacking_ = unpacked_bytes_ > kPartBytes ? Beside(fill) : std::async(std::launch::deferred, fill);
  }

  const std::span<const std::byte> packed_;
  const size_t unpacked_bytes_;
  LargeBuffer buffers_[2];            // each has room for a rest before its part
  size_t turn_ = 0;                   // whose part is unpacked
  size_t begun_bytes_ = 0;            // up to the end of that part
  size_t given_bytes_ = 0;            // up to the end of the one before
  std::unique_ptr<Decoder> decoder_;  // used by unpacking_ until that is done
  std::optional<XXH32_state_t> content_;
  Status status_;
  // Last, for their destructors wait.
  std::future<bool> blocks_;
  std::future<Status> unpacking_;
};

Lz4Parts::Lz4Parts(std::span<const std::byte> packed, size_t unpacked_bytes)
    : work_(std::make_unique<Work>(packed, unpacked_bytes)) {}

Lz4Parts::~Lz4Parts() = default;

std::span<const std::byte> Lz4Parts::Next(std::span<const std::byte> rest) { return work_->Next(rest); }

Status Lz4Parts::Finish() { return work_->Finish(); }

}  // namespace rootloom
