#include "native/nbd/operation.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "native/nbd/sparse_reply.h"

namespace rootloom::nbd {

namespace {

// Commands without a payload may name up to 4 GiB; what has to pass through memory does so in pieces of this.
constexpr uint32_t kPieceBytes = 1 << 20;
// More extents than this are left for the client's next BLOCK_STATUS.
constexpr size_t kMaxExtents = 16384;

void UseShortReply(Request& request, const std::byte* end) {
  request.reply = {request.short_reply.data(), static_cast<size_t>(end - request.short_reply.data())};
}

void Succeed(Request& request) {
  UseShortReply(request, Encode(SimpleReply{.cookie = request.cookie}, request.short_reply.data()));
}

// At most limit bytes of text, not ending inside a UTF-8 sequence.
std::string_view CutText(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<uint8_t>(text[limit]) & 0xc0) == 0x80) --limit;
  return text.substr(0, limit);
}

ChunkHeader Chunk(const Request& request, uint16_t type, size_t length_bytes) {
  return {.type = type, .cookie = request.cookie, .length_bytes = static_cast<uint32_t>(length_bytes)};
}

void RefuseForMemory(const Session& session, Request& request) { Refuse(session, request, WireError::kNoMemory, ""); }

void RefuseFor(const Session& session, Request& request, const Failure& failure) {
  Refuse(session, request, ToWireError(request, failure), failure.Message());
}

bool AnswerWithLent(Device& device, const Session& session, Request& request, Lenders& lenders) {
  request.lent = device.Borrow({request.offset_bytes, request.length_bytes}, lenders);
  if (request.lent.empty()) return false;
  std::byte* end = request.short_reply.data();
  if (session.structured_replies) {
    end = Encode(Chunk(request, kReplyTypeOffsetData, sizeof(OffsetData) + request.lent.size()), end);
    end = Encode(OffsetData{.offset_bytes = request.offset_bytes}, end);
  } else {
    end = Encode(SimpleReply{.cookie = request.cookie}, end);
  }
  UseShortReply(request, end);
  return true;
}

void ExecuteRead(Device& device, const Session& session, Request& request, Lenders* lenders) {
  if (lenders != nullptr && AnswerWithLent(device, session, request, *lenders)) return;
  const size_t header_bytes = session.structured_replies ? kDataChunkHeaderBytes : sizeof(SimpleReply);
  if (!request.buffer.Reserve(std::max(header_bytes + request.length_bytes, kHoleChunkBytes))) {
    return RefuseForMemory(session, request);
  }
  // The data is read to where it will be sent from; what is zeros of it need not be sent.
  const std::span<std::byte> data(request.buffer.data() + header_bytes, request.length_bytes);
  const Status status = device.Read(request.offset_bytes, data);
  if (!status.ok()) return RefuseFor(session, request, status.failure());
  if (session.structured_replies) {
    request.reply = LayOutChunks(request, request.buffer.data());
  } else {
    Encode(SimpleReply{.cookie = request.cookie}, request.buffer.data());
    request.reply = {request.buffer.data(), header_bytes + data.size()};
  }
}

uint32_t StateOf(ExtentKind kind) {
  switch (kind) {
    case ExtentKind::kData:
      return 0;
    case ExtentKind::kZero:
      return kStateZero;
    case ExtentKind::kHole:
      return kStateHole | kStateZero;
  }
  return 0;
}

uint32_t StateOf(const Extent& extent) { return StateOf(extent.kind); }
uint32_t StateOf(const Origin& origin) { return origin.number; }

size_t StatusBytes(size_t piece_count) {
  return sizeof(ChunkHeader) + sizeof(BigU32) + piece_count * sizeof(BlockDescriptor);
}

// One chunk, with what a context says of each piece.
template <typename Piece>
std::byte* EncodeStatus(const Request& request, uint32_t context_id, const std::vector<Piece>& pieces, bool last,
                        std::byte* target) {
  ChunkHeader chunk = Chunk(request, kReplyTypeBlockStatus, StatusBytes(pieces.size()) - sizeof chunk);
  if (!last) chunk.flags = 0;
  target = Encode(BigU32(context_id), Encode(chunk, target));
  for (const Piece& piece : pieces) {
    const auto length_bytes = static_cast<uint32_t>(piece.range.length_bytes);  // no longer than the request
    target = Encode(BlockDescriptor{.length_bytes = length_bytes, .state = StateOf(piece)}, target);
  }
  return target;
}

void ExecuteBlockStatus(Device& device, const Session& session, Request& request) {
  const size_t max_count = request.Has(kCommandFlagReqOne) ? 1 : kMaxExtents;
  const Range range{request.offset_bytes, request.length_bytes};
  std::vector<Extent> extents;
  std::vector<Origin> origins;
  if (session.base_allocation) {
    auto found = device.Extents(range, max_count);
    if (!found.ok()) return RefuseFor(session, request, found.status().failure());
    extents = std::move(found).value();
  }
  if (session.origins) {
    auto found = device.Origins(range, max_count);
    if (!found.ok()) return RefuseFor(session, request, found.status().failure());
    origins = std::move(found).value();
  }
  if (!request.buffer.Reserve(StatusBytes(extents.size()) + StatusBytes(origins.size()))) {
    return RefuseForMemory(session, request);
  }
  std::byte* end = request.buffer.data();
  if (session.base_allocation) end = EncodeStatus(request, kBaseAllocationId, extents, !session.origins, end);
  if (session.origins) end = EncodeStatus(request, kOriginsId, origins, true, end);
  request.reply = {request.buffer.data(), static_cast<size_t>(end - request.buffer.data())};
}

// Reads and forgets: a device that keeps what it fetched has it from then on. It is a hint, and what is hinted at
// beyond the size of the largest READ is left out, so that no worker is kept busy for minutes.
Status Cache(Device& device, Request& request) {
  const uint64_t end_bytes = request.offset_bytes + std::min(request.length_bytes, kMaxPayloadBytes);
  for (uint64_t offset = request.offset_bytes; offset < end_bytes; offset += kPieceBytes) {
    const size_t piece = std::min<uint64_t>(kPieceBytes, end_bytes - offset);
    ROOTLOOM_RETURN_IF_ERROR(device.Read(offset, {request.buffer.data(), piece}));
  }
  return Status::Ok();
}

// NO_HOLE: real zeros, written like any other data.
Status WriteZeros(Device& device, Request& request) {
  const uint64_t end_bytes = request.offset_bytes + request.length_bytes;
  std::memset(request.buffer.data(), 0, std::min<uint32_t>(kPieceBytes, request.length_bytes));
  for (uint64_t offset = request.offset_bytes; offset < end_bytes; offset += kPieceBytes) {
    const size_t piece = std::min<uint64_t>(kPieceBytes, end_bytes - offset);
    ROOTLOOM_RETURN_IF_ERROR(device.Write(offset, {request.buffer.data(), piece}));
  }
  return request.Has(kCommandFlagFua) ? device.Flush() : Status::Ok();
}

Status Trim(Device& device, const Request& request) {
  ROOTLOOM_RETURN_IF_ERROR(device.Trim({request.offset_bytes, request.length_bytes}));
  return request.Has(kCommandFlagFua) ? device.Flush() : Status::Ok();
}

Durability DurabilityOf(const Request& request) {
  return request.Has(kCommandFlagFua) ? Durability::kDurable : Durability::kBuffered;
}

void AnswerChange(const Session& session, Request& request, const Status& status) {
  status.ok() ? Succeed(request) : RefuseFor(session, request, status.failure());
}

// The commands that are answered with success or failure alone.
Status Change(Device& device, Request& request) {
  const Range range{request.offset_bytes, request.length_bytes};
  const Durability durability = DurabilityOf(request);
  switch (request.command) {
    case Command::kWrite:
      return device.Write(range.offset_bytes, request.payload, durability);
    case Command::kWriteZeroes:
      // Nothing has to be sent for it, so it is never slower than the write that a client would do instead: every one
      // counts as fast, but those that have to write.
      return request.Has(kCommandFlagNoHole) ? WriteZeros(device, request) : device.Zero(range, durability);
    case Command::kTrim:
      return Trim(device, request);
    case Command::kCache:
      return Cache(device, request);
    default:  // kFlush
      return device.writable() ? device.Flush() : Status::Ok();
  }
}

}  // namespace

WireError ToWireError(const Request& request, const Failure& failure) {
  switch (failure.error_number) {
    case EPERM:
    case EACCES:
    case EROFS:
      return WireError::kPermission;
    case ENOMEM:
      return WireError::kNoMemory;
    case EINVAL:
      return WireError::kInvalid;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return WireError::kNoSpace;
    case EOPNOTSUPP:
      return request.Has(kCommandFlagFastZero) ? WireError::kNotSupported : WireError::kInvalid;
    default:
      break;
  }
  switch (failure.kind) {
    case StatusKind::kNoSpace:
      return WireError::kNoSpace;
    case StatusKind::kCancelled:
      return WireError::kShutdown;
    default:
      return WireError::kIo;
  }
}

void Refuse(const Session& session, Request& request, WireError error, std::string_view message) {
  request.failed = true;
  const auto number = static_cast<uint32_t>(error);
  if (!session.structured_replies) {
    const SimpleReply reply{.error = number, .cookie = request.cookie};
    return UseShortReply(request, Encode(reply, request.short_reply.data()));
  }
  message = CutText(message, kMaxStringBytes);
  constexpr size_t kFixedBytes = sizeof(ChunkHeader) + sizeof(ErrorChunk);
  std::byte* start = request.short_reply.data();
  if (message.size() > request.short_reply.size() - kFixedBytes) {
    // An error is worth more than its text.
    if (request.buffer.Reserve(kFixedBytes + message.size())) {
      start = request.buffer.data();
    } else {
      message = {};
    }
  }
  std::byte* end = Encode(Chunk(request, kReplyTypeError, sizeof(ErrorChunk) + message.size()), start);
  end = Encode(ErrorChunk{.error = number, .message_bytes = static_cast<uint16_t>(message.size())}, end);
  std::copy_n(reinterpret_cast<const std::byte*>(message.data()), message.size(), end);
  request.reply = {start, kFixedBytes + message.size()};
}

void Execute(Device& device, const Session& session, Request& request, Lenders* lenders) {
  request.failed = false;
  request.lent = {};
  if (request.command == Command::kRead) return ExecuteRead(device, session, request, lenders);
  if (request.command == Command::kBlockStatus) return ExecuteBlockStatus(device, session, request);
  const bool writes_zeros = request.command == Command::kWriteZeroes && request.Has(kCommandFlagNoHole);
  if (writes_zeros && request.Has(kCommandFlagFastZero)) {
    return Refuse(session, request, WireError::kNotSupported, "zeros that leave no hole are not fast");
  }
  if ((writes_zeros || request.command == Command::kCache) &&
      !request.buffer.Reserve(std::min(kPieceBytes, request.length_bytes))) {
    return RefuseForMemory(session, request);
  }
  AnswerChange(session, request, Change(device, request));
}

Status ReadLent(Device& device, Request& request) {
  if (!request.buffer.Reserve(request.length_bytes)) return Status::Errno("read", device.name(), ENOMEM);
  const std::span<std::byte> data(request.buffer.data(), request.length_bytes);
  ROOTLOOM_RETURN_IF_ERROR(device.Read(request.offset_bytes, data));
  request.lent = data;
  return Status::Ok();
}

void ExecuteRow(Device& device, const Session& session, Request& first) {
  std::array<std::span<const std::byte>, kMaxRowPieces> pieces;
  std::array<Status, kMaxRowPieces> outcomes;
  size_t count = 0;
  for (const Request* request = &first; request != nullptr; request = request->next) pieces[count++] = request->payload;
  device.WriteRow(first.offset_bytes, {pieces.data(), count}, DurabilityOf(first), {outcomes.data(), count});
  const Status* outcome = outcomes.data();
  for (Request* request = &first; request != nullptr; request = request->next) {
    request->failed = false;
    AnswerChange(session, *request, *outcome++);
  }
}

}  // namespace rootloom::nbd
