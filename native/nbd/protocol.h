// The NBD protocol as bytes: numbers, wire layouts and nothing else. Named after the protocol document, with its NBD_
// prefixes left out: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/nbd/big_endian.h"

namespace rootloom::nbd {

// ---- Sizes ----

// The largest READ or WRITE, as advertised in INFO_BLOCK_SIZE.
inline constexpr uint32_t kMaxPayloadBytes = 32 << 20;
// The longest string that the protocol allows: export names, context names, error messages.
inline constexpr uint32_t kMaxStringBytes = 4096;

// ---- Transmission flags ----

inline constexpr uint16_t kHasFlags = 1 << 0;
inline constexpr uint16_t kReadOnly = 1 << 1;
inline constexpr uint16_t kSendFlush = 1 << 2;
inline constexpr uint16_t kSendFua = 1 << 3;
inline constexpr uint16_t kSendTrim = 1 << 5;
inline constexpr uint16_t kSendWriteZeroes = 1 << 6;
inline constexpr uint16_t kSendDf = 1 << 7;
inline constexpr uint16_t kCanMultiConn = 1 << 8;
inline constexpr uint16_t kSendCache = 1 << 10;
inline constexpr uint16_t kSendFastZero = 1 << 11;

// ---- Requests ----

inline constexpr uint32_t kRequestMagic = 0x25609513;

enum class Command : uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kCache = 5,
  kWriteZeroes = 6,
  kBlockStatus = 7,
};

inline constexpr uint16_t kCommandFlagFua = 1 << 0;
inline constexpr uint16_t kCommandFlagNoHole = 1 << 1;
inline constexpr uint16_t kCommandFlagDf = 1 << 2;
inline constexpr uint16_t kCommandFlagReqOne = 1 << 3;
inline constexpr uint16_t kCommandFlagFastZero = 1 << 4;

struct RequestHeader {
  BigU32 magic = kRequestMagic;
  BigU16 flags;
  BigU16 command;
  BigU64 cookie;
  BigU64 offset_bytes;
  BigU32 length_bytes;
};
static_assert(sizeof(RequestHeader) == 28);

// ---- Replies ----

inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;
inline constexpr uint16_t kReplyFlagDone = 1 << 0;

inline constexpr uint16_t kReplyTypeNone = 0;
inline constexpr uint16_t kReplyTypeOffsetData = 1;
inline constexpr uint16_t kReplyTypeOffsetHole = 2;
inline constexpr uint16_t kReplyTypeBlockStatus = 5;
inline constexpr uint16_t kReplyTypeError = (1 << 15) + 1;

struct SimpleReply {
  BigU32 magic = kSimpleReplyMagic;
  BigU32 error;
  BigU64 cookie;
};
static_assert(sizeof(SimpleReply) == 16);

struct ChunkHeader {
  BigU32 magic = kStructuredReplyMagic;
  BigU16 flags = kReplyFlagDone;
  BigU16 type;
  BigU64 cookie;
  BigU32 length_bytes;
};
static_assert(sizeof(ChunkHeader) == 20);

// What follows ChunkHeader with OFFSET_DATA; the data comes after it.
struct OffsetData {
  BigU64 offset_bytes;
};
static_assert(sizeof(OffsetData) == 8);

struct OffsetHole {
  BigU64 offset_bytes;
  BigU32 length_bytes;
};
static_assert(sizeof(OffsetHole) == 12);

// What follows ChunkHeader with ERROR; the message comes after it.
struct ErrorChunk {
  BigU32 error;
  BigU16 message_bytes;
};
static_assert(sizeof(ErrorChunk) == 6);

// What follows the context id of a BLOCK_STATUS chunk, once an extent.
struct BlockDescriptor {
  BigU32 length_bytes;
  BigU32 state;
};
static_assert(sizeof(BlockDescriptor) == 8);

inline constexpr uint32_t kStateHole = 1 << 0;
inline constexpr uint32_t kStateZero = 1 << 1;

// The only error numbers that may appear on the wire. Their values equal Linux's errno.
enum class WireError : uint32_t {
  kNone = 0,
  kPermission = 1,
  kIo = 5,
  kNoMemory = 12,
  kInvalid = 22,
  kNoSpace = 28,
  kOverflow = 75,
  kNotSupported = 95,
  kShutdown = 108,
};

}  // namespace rootloom::nbd
