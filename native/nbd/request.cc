#include "native/nbd/request.h"

#include <new>

namespace rootloom::nbd {

bool Buffer::Reserve(size_t size_bytes) {
  if (size_bytes <= capacity_) return true;
  Free();
  bytes_.reset(new (std::nothrow) std::byte[size_bytes]);
  if (bytes_ != nullptr) capacity_ = size_bytes;
  return bytes_ != nullptr;
}

void Buffer::Free() {
  bytes_.reset();
  capacity_ = 0;
}

namespace {

// The flags that a command takes; FUA is allowed with every command and means nothing for those that write nothing.
uint16_t AllowedFlags(Command command, const Session& session) {
  switch (command) {
    case Command::kRead:
      return session.structured_replies ? kCommandFlagFua | kCommandFlagDf : kCommandFlagFua;
    case Command::kWriteZeroes:
      return kCommandFlagFua | kCommandFlagNoHole | kCommandFlagFastZero;
    case Command::kBlockStatus:
      return kCommandFlagFua | kCommandFlagReqOne;
    default:
      return kCommandFlagFua;
  }
}

bool IsKnown(Command command) {
  switch (command) {
    case Command::kRead:
    case Command::kWrite:
    case Command::kDisconnect:
    case Command::kFlush:
    case Command::kTrim:
    case Command::kCache:
    case Command::kWriteZeroes:
    case Command::kBlockStatus:
      return true;
  }
  return false;
}

bool Changes(Command command) {
  return command == Command::kWrite || command == Command::kTrim || command == Command::kWriteZeroes;
}

}  // namespace

std::optional<Refusal> CheckRequest(const Request& request, const Session& session) {
  const Command command = request.command;
  if (!IsKnown(command)) return Refusal{WireError::kInvalid, "the command is unknown"};
  if ((request.flags & ~AllowedFlags(command, session)) != 0) {
    return Refusal{WireError::kInvalid, "the command does not take these flags"};
  }
  if (command == Command::kFlush) {
    if (request.offset_bytes == 0 && request.length_bytes == 0) return std::nullopt;
    return Refusal{WireError::kInvalid, "FLUSH takes no range"};
  }
  if (session.read_only && Changes(command)) return Refusal{WireError::kPermission, "the export is read-only"};
  if (command == Command::kBlockStatus && !session.any_context()) {
    return Refusal{WireError::kInvalid, "no metadata context was negotiated"};
  }
  const bool inside =
      request.offset_bytes <= session.size_bytes && request.length_bytes <= session.size_bytes - request.offset_bytes;
  if (!inside) {
    const bool grows = command == Command::kWrite || command == Command::kWriteZeroes;
    return Refusal{grows ? WireError::kNoSpace : WireError::kInvalid, "the range ends beyond the export"};
  }
  if (request.length_bytes == 0) return Refusal{WireError::kInvalid, "the range is empty"};
  const bool has_payload = command == Command::kRead || command == Command::kWrite;
  if (has_payload && request.length_bytes > kMaxPayloadBytes) {
    const bool overflow = command == Command::kRead && session.structured_replies;
    return Refusal{overflow ? WireError::kOverflow : WireError::kInvalid, "the payload is longer than 32 MiB"};
  }
  return std::nullopt;
}

}  // namespace rootloom::nbd
