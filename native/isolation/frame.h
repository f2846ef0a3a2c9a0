// Frames: one message each on the control socket. Eight bytes of header (kind, length of the payload), then the
// payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/isolation/messages.h"
#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom {

struct Frame {
  HelperMessage kind = HelperMessage::kHello;
  std::vector<std::byte> payload;
};

// Puts frames together from bytes as they arrive, whoever sends them. Holds at most one payload of the length that its
// kind allows, and what was received with it.
class FrameReader {
 public:
  void Add(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }

  // The next whole frame; nothing when more bytes are needed. Fails with kCorrupt for a kind that does not exist and a
  // length that its kind does not allow: nothing that follows can be trusted then.
  Result<std::optional<Frame>> Next();

 private:
  std::vector<std::byte> bytes_;
};

// A frame as bytes.
std::vector<std::byte> EncodeFrame(HelperMessage kind, std::span<const std::byte> payload);

// Sends one frame, whole, and passed_fd with it unless that is negative. Waits while the socket is full. Fails with
// EPIPE when the other end is gone.
Status SendFrame(int socket, HelperMessage kind, std::span<const std::byte> payload, int passed_fd = -1);

struct ReceivedFrame {
  Frame frame;
  UniqueFd passed;
};

// Waits for one frame, and takes the descriptor that comes with it. Reads no further than its end. Fails with
// ECONNRESET when the other end is gone. For the helper: the owner never waits for the helper alone.
Result<ReceivedFrame> ReceiveFrame(int socket);

}  // namespace rootloom
