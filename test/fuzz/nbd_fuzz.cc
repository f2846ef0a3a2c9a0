// A client may send anything: the connection ends by itself, and every answer is well formed.
//
// The first byte of the input says in which state the connection starts. Magic numbers, which no mutation would get
// right, are put in where they belong unless that byte says otherwise.
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "native/block/memory_device.h"
#include "native/nbd/connection.h"
#include "native/nbd/protocol_handshake.h"

namespace {

using namespace rootloom;
using namespace rootloom::nbd;
using Bytes = std::vector<std::byte>;

constexpr uint64_t kDeviceBytes = 64 << 10;

struct Start {
  bool handshake;
  bool structured;
  bool read_only;
  bool raw;  // magic numbers are the input's own
};

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "nbd_fuzz: %s\n", what);
  std::abort();
}

// Puts the magic at the front of each message, as far as the lengths in the messages tell where the next one is.
void RepairMagics(const Start& start, Bytes& bytes) {
  size_t at = 0;
  if (start.handshake) {
    at = sizeof(BigU32);
    while (at + sizeof(OptionHeader) <= bytes.size()) {
      Encode(BigU64(kOptionMagic), bytes.data() + at);
      const auto header = Decode<OptionHeader>(std::span(bytes).subspan(at));
      const bool last = header.option == static_cast<uint32_t>(Option::kGo) ||
                        header.option == static_cast<uint32_t>(Option::kExportName);
      at += sizeof header + header.length_bytes;
      if (last) break;
    }
  }
  while (at + sizeof(RequestHeader) <= bytes.size()) {
    Encode(BigU32(kRequestMagic), bytes.data() + at);
    const auto header = Decode<RequestHeader>(std::span(bytes).subspan(at));
    at += sizeof header;
    if (header.command == static_cast<uint16_t>(Command::kWrite)) at += header.length_bytes;
  }
}

bool IsWireError(uint32_t error) {
  for (const uint32_t known : {1, 5, 12, 22, 28, 75, 95, 108}) {
    if (error == known) return true;
  }
  return false;
}

// Checks a stream of structured chunks and of simple replies without data.
void CheckReplies(std::span<const std::byte> rest) {
  while (!rest.empty()) {
    Require(rest.size() >= sizeof(SimpleReply), "an answer ends too early");
    if (Decode<BigU32>(rest) == kSimpleReplyMagic) {
      const uint32_t error = Decode<SimpleReply>(rest).error;
      Require(error == 0 || IsWireError(error), "an error that the protocol does not know");
      rest = rest.subspan(sizeof(SimpleReply));
      continue;
    }
    Require(rest.size() >= sizeof(ChunkHeader), "a chunk ends too early");
    const auto chunk = Decode<ChunkHeader>(rest);
    rest = rest.subspan(sizeof chunk);
    Require(chunk.magic == kStructuredReplyMagic && (chunk.flags & ~kReplyFlagDone) == 0, "not a chunk");
    Require(chunk.flags == kReplyFlagDone || !rest.empty(), "an answer without an end");
    Require(chunk.length_bytes <= rest.size(), "a chunk's payload ends too early");
    const auto payload = rest.first(chunk.length_bytes);
    rest = rest.subspan(chunk.length_bytes);
    if (chunk.type == kReplyTypeError) {
      const auto error = Decode<ErrorChunk>(payload);
      Require(IsWireError(error.error) && error.message_bytes == payload.size() - sizeof error, "a bad error chunk");
    } else if (chunk.type == kReplyTypeOffsetHole) {
      Require(payload.size() == sizeof(OffsetHole) && Decode<OffsetHole>(payload).length_bytes > 0, "a bad hole");
    } else if (chunk.type == kReplyTypeOffsetData) {
      Require(payload.size() > sizeof(OffsetData), "data without data");
    } else {
      Require(chunk.type == kReplyTypeBlockStatus, "a chunk of an unknown type");
      Require(payload.size() > 4 && payload.size() % 8 == 4, "a bad block status");
    }
  }
}

Bytes ReceiveAll(int socket) {
  Bytes bytes;
  std::byte piece[65536];
  for (;;) {
    const ssize_t received = ::recv(socket, piece, sizeof piece, 0);
    if (received <= 0) return bytes;
    bytes.insert(bytes.end(), piece, piece + received);
  }
}

Result<std::unique_ptr<Connection>> Connect(const Start& start, UniqueFd socket) {
  static WorkerPool workers(2);
  Connection::Parts parts{std::move(socket), MemoryDevice::Create(kDeviceBytes).value(), workers};
  if (!start.handshake) {
    return Connection::InTransmission(std::move(parts), {.size_bytes = kDeviceBytes,
                                                         .read_only = start.read_only,
                                                         .structured_replies = start.structured,
                                                         .base_allocation = start.structured,
                                                         .origins = start.structured && start.raw});
  }
  return Connection::WithHandshake(
      std::move(parts),
      {.name = "e", .description = "a device", .size_bytes = kDeviceBytes, .read_only = start.read_only});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Less than what a socket holds, so that it can be sent before anybody reads.
  if (size == 0 || size > 32768) return 0;
  const Start start{.handshake = (data[0] & 1) != 0,
                    .structured = (data[0] & 2) != 0,
                    .read_only = (data[0] & 4) != 0,
                    .raw = (data[0] & 8) != 0};
  const auto* front = reinterpret_cast<const std::byte*>(data) + 1;
  Bytes input(front, front + size - 1);
  if (!start.raw) RepairMagics(start, input);

  int sockets[2];
  Require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "no sockets");
  const UniqueFd client(sockets[0]);
  auto connection = Connect(start, UniqueFd(sockets[1]));
  Require(connection.ok(), "no connection");
  Bytes output;
  std::thread reader([&] { output = ReceiveAll(client.get()); });
  const ssize_t sent = ::send(client.get(), input.data(), input.size(), MSG_NOSIGNAL);
  Require(sent == static_cast<ssize_t>(input.size()), "the input does not fit into the socket");
  ::shutdown(client.get(), SHUT_WR);
  (*connection)->Serve();
  reader.join();

  if (start.handshake) {
    Require(output.size() >= sizeof(Greeting), "no greeting");
  } else if (start.structured) {
    CheckReplies(output);
  }
  return 0;
}
