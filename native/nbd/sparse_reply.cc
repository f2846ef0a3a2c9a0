#include "native/nbd/sparse_reply.h"

#include <algorithm>
#include <cstring>

#include "native/util/file_io.h"

namespace rootloom::nbd {

namespace {

// Data is looked at in pieces of this. Only a piece that is zeros in whole belongs to a hole.
constexpr size_t kPieceBytes = 4096;
// Below it a hole among data is not worth its two headers, and the client's zeroing. It also has room for them, so that
// chunks never grow over data that is yet to be moved.
constexpr size_t kMinHoleBytes = 16 << 10;
static_assert(kMinHoleBytes > kHoleChunkBytes + kDataChunkHeaderBytes);

// The length of the piece at the front that is zeros; 0 when data comes first.
size_t ZerosAtFront(std::span<const std::byte> data) {
  size_t length = 0;
  while (length < data.size()) {
    const auto piece = data.subspan(length, std::min(kPieceBytes, data.size() - length));
    if (!IsAllZero(piece)) break;
    length += piece.size();
  }
  return length;
}

// Puts chunks one behind the other.
class Layout {
 public:
  Layout(const Request& request, std::byte* target) : request_(request), begin_(target), end_(target) {}

  void AddHole(size_t at, size_t length_bytes) {
    BeginChunk(kReplyTypeOffsetHole, sizeof(OffsetHole));
    const OffsetHole hole{.offset_bytes = request_.offset_bytes + at,
                          .length_bytes = static_cast<uint32_t>(length_bytes)};
    end_ = Encode(hole, end_);
  }
  // Moves the data to where it belongs. Its header may lie over the bytes before it, which were dealt with.
  void AddData(size_t at, std::span<const std::byte> data) {
    if (data.empty()) return;
    if (end_ + kDataChunkHeaderBytes != data.data()) {
      std::memmove(end_ + kDataChunkHeaderBytes, data.data(), data.size());
    }
    BeginChunk(kReplyTypeOffsetData, sizeof(OffsetData) + data.size());
    end_ = Encode(OffsetData{.offset_bytes = request_.offset_bytes + at}, end_) + data.size();
  }
  std::span<const std::byte> Finish() {
    const BigU16 flags = kReplyFlagDone;
    std::memcpy(last_chunk_ + offsetof(ChunkHeader, flags), &flags, sizeof flags);
    return {begin_, static_cast<size_t>(end_ - begin_)};
  }

 private:
  void BeginChunk(uint16_t type, size_t length_bytes) {
    last_chunk_ = end_;
    end_ = Encode(ChunkHeader{.flags = uint16_t{0},
                              .type = type,
                              .cookie = request_.cookie,
                              .length_bytes = static_cast<uint32_t>(length_bytes)},
                  end_);
  }

  const Request& request_;
  std::byte* const begin_;
  std::byte* end_;
  std::byte* last_chunk_ = nullptr;
};

}  // namespace

std::span<const std::byte> LayOutChunks(const Request& request, std::byte* buffer) {
  const std::span<const std::byte> data(buffer + kDataChunkHeaderBytes, request.length_bytes);
  Layout layout(request, buffer);
  const bool whole = request.Has(kCommandFlagDf);
  size_t data_begin = 0;  // of what is not laid out yet
  for (size_t at = 0; at < data.size();) {
    const size_t zeros = ZerosAtFront(data.subspan(at));
    if (zeros == data.size() || (zeros >= kMinHoleBytes && !whole)) {
      layout.AddData(data_begin, data.subspan(data_begin, at - data_begin));
      layout.AddHole(at, zeros);
      data_begin = at + zeros;
    }
    if (whole) break;
    at += std::max(zeros, std::min(kPieceBytes, data.size() - at));
  }
  layout.AddData(data_begin, data.subspan(data_begin));
  return layout.Finish();
}

}  // namespace rootloom::nbd
