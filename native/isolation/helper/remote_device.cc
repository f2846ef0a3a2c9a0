#include "native/isolation/helper/remote_device.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/block/extent_list.h"
#include "native/nbd/protocol.h"
#include "native/nbd/session.h"

namespace rootloom {

using nbd::Command;

namespace {

// Of one request without a payload: the largest whole number of the largest blocks that 32 bits hold.
constexpr uint64_t kMaxRangeBytes = uint64_t{1} << 31;
// Of writes that are gathered.
constexpr size_t kMaxGatheredBytes = 256 << 10;

const char* OperationOf(Command command) {
  switch (command) {
    case Command::kRead:
      return "read";
    case Command::kWrite:
      return "write";
    case Command::kTrim:
      return "trim";
    case Command::kWriteZeroes:
      return "zero";
    case Command::kFlush:
      return "flush";
    default:
      return "ask for the extents of";
  }
}

ExtentKind KindOf(uint32_t state) {
  if ((state & nbd::kStateZero) == 0) return ExtentKind::kData;
  return (state & nbd::kStateHole) != 0 ? ExtentKind::kHole : ExtentKind::kZero;
}

}  // namespace

struct RemoteDevice::Call {
  Command command;
  Range range;
  uint16_t flags = 0;
  std::span<const std::byte> payload = {};
};

struct RemoteDevice::Reply {
  uint16_t type = nbd::kReplyTypeNone;
  uint32_t payload_bytes = 0;  // yet to be received
};

Status RemoteDevice::Broken(const char* detail) {
  broken_ = true;
  return Failure{.kind = StatusKind::kIo,
                 .operation = "talk to the owner of",
                 .detail = detail,
                 .path = facts_.name,
                 .error_number = EPROTO};
}

Status RemoteDevice::SendBytes(const void* bytes, size_t length) {
  const auto* next = static_cast<const std::byte*>(bytes);
  while (length > 0) {
    const ssize_t sent = ::send(socket_.get(), next, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Broken("it does not listen any more");
    next += sent;
    length -= static_cast<size_t>(sent);
  }
  return Status::Ok();
}

Status RemoteDevice::ReceiveBytes(void* bytes, size_t length) {
  auto* next = static_cast<std::byte*>(bytes);
  while (length > 0) {
    const ssize_t received = ::recv(socket_.get(), next, length, MSG_WAITALL);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return Broken("it hung up");
    next += received;
    length -= static_cast<size_t>(received);
  }
  return Status::Ok();
}

Status RemoteDevice::Send(const Call& call) {
  if (broken_) return Broken("it broke the protocol");
  on_use_();
  const nbd::RequestHeader header{.flags = call.flags,
                                  .command = static_cast<uint16_t>(call.command),
                                  .cookie = ++last_cookie_,
                                  .offset_bytes = call.range.offset_bytes,
                                  .length_bytes = static_cast<uint32_t>(call.range.length_bytes)};
  ROOTLOOM_RETURN_IF_ERROR(SendBytes(&header, sizeof header));
  return SendBytes(call.payload.data(), call.payload.size());
}

Result<RemoteDevice::Reply> RemoteDevice::ReceiveReply(const Call& call) {
  std::byte header[sizeof(nbd::ChunkHeader)];
  ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(header, sizeof(nbd::SimpleReply)));
  const auto simple = nbd::Decode<nbd::SimpleReply>(header);
  if (simple.magic == nbd::kSimpleReplyMagic) {
    if (simple.cookie != last_cookie_) return Broken("it answered what was not asked");
    if (simple.error == 0) return Reply{};
    return Status::Errno(OperationOf(call.command), facts_.name, static_cast<int>(uint32_t{simple.error}),
                         call.range.offset_bytes);
  }
  // A chunk's header is longer than a simple reply.
  constexpr size_t kMoreBytes = sizeof header - sizeof(nbd::SimpleReply);
  ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(header + sizeof(nbd::SimpleReply), kMoreBytes));
  const auto chunk = nbd::Decode<nbd::ChunkHeader>(header);
  if (chunk.magic != nbd::kStructuredReplyMagic || chunk.cookie != last_cookie_ || chunk.flags != nbd::kReplyFlagDone) {
    return Broken("it answered what was not asked");
  }
  if (chunk.type != nbd::kReplyTypeError) return Reply{.type = chunk.type, .payload_bytes = chunk.length_bytes};
  nbd::ErrorChunk error;
  if (chunk.length_bytes < sizeof error || chunk.length_bytes > sizeof error + nbd::kMaxStringBytes) {
    return Broken("its error has a wrong length");
  }
  ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(&error, sizeof error));
  std::string message(chunk.length_bytes - sizeof error, '\0');
  ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(message.data(), message.size()));
  return Status::Errno(OperationOf(call.command), facts_.name, static_cast<int>(uint32_t{error.error}),
                       call.range.offset_bytes);
}

Status RemoteDevice::Run(const Call& call) {
  ROOTLOOM_RETURN_IF_ERROR(Send(call));
  ROOTLOOM_ASSIGN_OR_RETURN(const Reply reply, ReceiveReply(call));
  return reply.payload_bytes == 0 ? Status::Ok() : Broken("its answer has a wrong length");
}

Status RemoteDevice::DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) {
  ROOTLOOM_RETURN_IF_ERROR(SendGathered());
  while (!buffer.empty()) {
    const std::span<std::byte> piece = buffer.first(std::min<size_t>(buffer.size(), nbd::kMaxPayloadBytes));
    // In one piece: what is known here of an answer is its length, not how many holes are in it.
    const Call call{.command = Command::kRead, .range = {offset_bytes, piece.size()}, .flags = nbd::kCommandFlagDf};
    ROOTLOOM_RETURN_IF_ERROR(Send(call));
    ROOTLOOM_ASSIGN_OR_RETURN(const Reply reply, ReceiveReply(call));
    if (reply.type == nbd::kReplyTypeOffsetHole && reply.payload_bytes == sizeof(nbd::OffsetHole)) {
      nbd::OffsetHole hole;
      ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(&hole, sizeof hole));
      if (hole.offset_bytes != offset_bytes || hole.length_bytes != piece.size()) return Broken("it read elsewhere");
      std::memset(piece.data(), 0, piece.size());
    } else if (reply.type == nbd::kReplyTypeOffsetData &&
               reply.payload_bytes == sizeof(nbd::OffsetData) + piece.size()) {
      nbd::OffsetData data;
      ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(&data, sizeof data));
      if (data.offset_bytes != offset_bytes) return Broken("it read elsewhere");
      ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(piece.data(), piece.size()));
    } else {
      return Broken("it answered a read otherwise");
    }
    offset_bytes += piece.size();
    buffer = buffer.subspan(piece.size());
  }
  return Status::Ok();
}

Status RemoteDevice::DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  const bool continues = offset_bytes == gathered_offset_bytes_ + gathered_.size();
  if (!continues || gathered_.size() + data.size() > kMaxGatheredBytes) ROOTLOOM_RETURN_IF_ERROR(SendGathered());
  if (durability == Durability::kDurable || data.size() > kMaxGatheredBytes) {
    ROOTLOOM_RETURN_IF_ERROR(SendGathered());
    return WriteNow(offset_bytes, data, durability);
  }
  if (gathered_.empty()) gathered_offset_bytes_ = offset_bytes;
  gathered_.insert(gathered_.end(), data.begin(), data.end());
  return Status::Ok();
}

Status RemoteDevice::SendGathered() {
  if (gathered_.empty()) return Status::Ok();
  const Status written = WriteNow(gathered_offset_bytes_, gathered_, Durability::kBuffered);
  gathered_.clear();
  return written;
}

Status RemoteDevice::WriteNow(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) {
  const uint16_t flags = durability == Durability::kDurable ? nbd::kCommandFlagFua : 0;
  while (!data.empty()) {
    const std::span<const std::byte> piece = data.first(std::min<size_t>(data.size(), nbd::kMaxPayloadBytes));
    ROOTLOOM_RETURN_IF_ERROR(
        Run({.command = Command::kWrite, .range = {offset_bytes, piece.size()}, .flags = flags, .payload = piece}));
    offset_bytes += piece.size();
    data = data.subspan(piece.size());
  }
  return Status::Ok();
}

Status RemoteDevice::DoZero(Range range, Durability durability) {
  ROOTLOOM_RETURN_IF_ERROR(SendGathered());
  const uint16_t flags = durability == Durability::kDurable ? nbd::kCommandFlagFua : 0;
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes(); offset += kMaxRangeBytes) {
    const Range piece{offset, std::min(kMaxRangeBytes, range.end_bytes() - offset)};
    ROOTLOOM_RETURN_IF_ERROR(Run({.command = Command::kWriteZeroes, .range = piece, .flags = flags}));
  }
  return Status::Ok();
}

Status RemoteDevice::DoTrim(Range range) {
  ROOTLOOM_RETURN_IF_ERROR(SendGathered());
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes(); offset += kMaxRangeBytes) {
    const Range piece{offset, std::min(kMaxRangeBytes, range.end_bytes() - offset)};
    ROOTLOOM_RETURN_IF_ERROR(Run({.command = Command::kTrim, .range = piece}));
  }
  return Status::Ok();
}

Status RemoteDevice::Flush() {
  ROOTLOOM_RETURN_IF_ERROR(SendGathered());
  return Run({.command = Command::kFlush, .range = {0, 0}});
}

Result<std::optional<uint64_t>> RemoteDevice::AddExtents(Range range, ExtentList& extents) {
  const Call call{.command = Command::kBlockStatus, .range = range};
  ROOTLOOM_RETURN_IF_ERROR(Send(call));
  ROOTLOOM_ASSIGN_OR_RETURN(const Reply reply, ReceiveReply(call));
  constexpr size_t kItemBytes = sizeof(nbd::BlockDescriptor);
  if (reply.type != nbd::kReplyTypeBlockStatus || reply.payload_bytes % kItemBytes != sizeof(nbd::BigU32) ||
      reply.payload_bytes < kItemBytes || reply.payload_bytes > nbd::kMaxPayloadBytes) {
    return Broken("it answered a question about extents otherwise");
  }
  nbd::BigU32 context_id;
  ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(&context_id, sizeof context_id));
  std::vector<nbd::BlockDescriptor> items((reply.payload_bytes - sizeof context_id) / kItemBytes);
  ROOTLOOM_RETURN_IF_ERROR(ReceiveBytes(items.data(), items.size() * kItemBytes));
  uint64_t offset = range.offset_bytes;
  for (const nbd::BlockDescriptor& item : items) {
    const uint32_t length = item.length_bytes;
    if (length == 0 || length > range.end_bytes() - offset) return Broken("its extents are elsewhere");
    if (!extents.Add({{offset, length}, KindOf(item.state)})) return std::optional<uint64_t>();
    offset += length;
  }
  return std::optional<uint64_t>(offset);
}

Result<std::vector<Extent>> RemoteDevice::DoExtents(Range range, size_t max_count) {
  ROOTLOOM_RETURN_IF_ERROR(SendGathered());
  ExtentList extents(max_count);
  for (uint64_t offset = range.offset_bytes; offset < range.end_bytes();) {
    const Range piece{offset, std::min(kMaxRangeBytes, range.end_bytes() - offset)};
    ROOTLOOM_ASSIGN_OR_RETURN(const std::optional<uint64_t> end, AddExtents(piece, extents));
    if (!end) break;
    offset = *end;
  }
  return std::move(extents).Take();
}

}  // namespace rootloom
