// A client that speaks NBD byte for byte, also wrongly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "native/block/device.h"
#include "native/nbd/protocol_handshake.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd::testing {

using Bytes = std::vector<std::byte>;

Bytes BytesOf(std::string_view text);
// Bytes that differ from block to block and from seed to seed, none of them zero.
Bytes Pattern(size_t size_bytes, uint64_t seed);

template <typename Layout>
void Append(const Layout& layout, Bytes& bytes) {
  const auto* front = reinterpret_cast<const std::byte*>(&layout);
  bytes.insert(bytes.end(), front, front + sizeof layout);
}

struct OptionAnswer {
  OptionReply type;
  Bytes data;
};

struct Reply {
  bool structured = false;
  uint64_t cookie = 0;
  uint16_t type = kReplyTypeNone;      // of a structured reply
  WireError error = WireError::kNone;  // of a simple reply or an error chunk
  std::string message;                 // of an error chunk
  Bytes data;                          // READ: the content, zeros for a hole
  struct Piece {
    Range range;
    bool hole;
    bool operator==(const Piece&) const = default;
  };
  std::vector<Piece> pieces;                                  // READ in a structured reply: its chunks
  std::map<uint32_t, std::vector<BlockDescriptor>> contexts;  // BLOCK_STATUS, by the context's id
};

// Bytes of one request, without its payload.
Bytes RequestBytes(Command command, uint64_t cookie, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags = 0);
// Bytes of one option.
Bytes OptionBytes(Option option, std::span<const std::byte> data);
// The data of GO and INFO, and of the two META_CONTEXT options.
Bytes InfoData(std::string_view name, std::vector<uint16_t> infos);
Bytes ContextData(std::string_view name, std::vector<std::string_view> queries);

class RawClient {
 public:
  explicit RawClient(UniqueFd socket) : socket_(std::move(socket)) {}
  // A client of a listening socket; invalid when nobody listens.
  static RawClient Connect(const std::string& path);

  bool connected() const { return socket_.valid(); }
  int fd() const { return socket_.get(); }
  // All of bytes, or false when the server hung up.
  bool Send(std::span<const std::byte> bytes);
  // Exactly so many bytes, or nullopt when the server hung up before.
  std::optional<Bytes> Receive(size_t size_bytes);
  // True when the server has hung up and nothing is left to be received.
  bool AtEnd();
  // Says that nothing more is coming, and goes on receiving.
  void ShutdownSending();
  void Close() { socket_.Reset(); }

  // ---- Handshake ----
  bool ReceiveGreeting();
  bool SendClientFlags(uint32_t flags = kClientFlagFixedNewstyle | kClientFlagNoZeroes);
  // Sends an option and receives the answers up to the last; empty when the server hung up.
  std::vector<OptionAnswer> Ask(Option option, std::span<const std::byte> data = {});
  // The whole handshake with GO; false when something was refused.
  bool Handshake(bool structured = true, std::string_view name = "",
                 const std::vector<std::string_view>& contexts = {"base:allocation"});

  // ---- Transmission ----
  // READs under way must be told, since a simple reply does not say its length.
  std::optional<Reply> ReceiveReply(uint32_t simple_data_bytes = 0);
  // One request and its answer. data is the payload of a WRITE.
  std::optional<Reply> Call(Command command, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags = 0,
                            std::span<const std::byte> data = {});
  // The error that a call was answered with; fails the test when there was no answer.
  WireError ErrorOf(Command command, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags = 0,
                    std::span<const std::byte> data = {});

 private:
  std::optional<bool> ReceiveChunk(Reply& reply, bool first);

  UniqueFd socket_;
  bool structured_ = false;
  uint64_t next_cookie_ = 0x1122334455667788;
};

}  // namespace rootloom::nbd::testing
