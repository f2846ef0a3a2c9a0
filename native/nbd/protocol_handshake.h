// The handshake part of the NBD protocol as bytes; see protocol.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/nbd/big_endian.h"
#include "native/nbd/protocol.h"

namespace rootloom::nbd {

inline constexpr uint64_t kServerMagic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;

inline constexpr uint16_t kFlagFixedNewstyle = 1 << 0;
inline constexpr uint16_t kFlagNoZeroes = 1 << 1;
inline constexpr uint32_t kClientFlagFixedNewstyle = 1 << 0;
inline constexpr uint32_t kClientFlagNoZeroes = 1 << 1;

enum class Option : uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  kListMetaContext = 9,
  kSetMetaContext = 10,
};

enum class OptionReply : uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrUnsupported = (1u << 31) + 1,
  kErrPolicy = (1u << 31) + 2,
  kErrInvalid = (1u << 31) + 3,
  kErrUnknown = (1u << 31) + 6,
  kErrTooBig = (1u << 31) + 9,
};

inline constexpr uint16_t kInfoExport = 0;
inline constexpr uint16_t kInfoName = 1;
inline constexpr uint16_t kInfoDescription = 2;
inline constexpr uint16_t kInfoBlockSize = 3;

struct Greeting {
  BigU64 server_magic = kServerMagic;
  BigU64 option_magic = kOptionMagic;
  BigU16 flags = uint16_t{kFlagFixedNewstyle | kFlagNoZeroes};
};
static_assert(sizeof(Greeting) == 18);

struct OptionHeader {
  BigU64 magic;
  BigU32 option;
  BigU32 length_bytes;
};
static_assert(sizeof(OptionHeader) == 16);

struct OptionReplyHeader {
  BigU64 magic = kOptionReplyMagic;
  BigU32 option;
  BigU32 reply;
  BigU32 length_bytes;
};
static_assert(sizeof(OptionReplyHeader) == 20);

struct InfoExport {
  BigU16 type = kInfoExport;
  BigU64 size_bytes;
  BigU16 transmission_flags;
};
static_assert(sizeof(InfoExport) == 12);

struct InfoBlockSize {
  BigU16 type = kInfoBlockSize;
  BigU32 minimum_bytes = uint32_t{1};
  BigU32 preferred_bytes;
  BigU32 maximum_payload_bytes = kMaxPayloadBytes;
};
static_assert(sizeof(InfoBlockSize) == 14);

// The answer to EXPORT_NAME; the zeroes are left out when the client asked for that.
struct ExportNameReply {
  BigU64 size_bytes;
  BigU16 transmission_flags;
  uint8_t zeroes[124] = {};
};
static_assert(sizeof(ExportNameReply) == 134);
inline constexpr size_t kShortExportNameReplyBytes = offsetof(ExportNameReply, zeroes);

}  // namespace rootloom::nbd
