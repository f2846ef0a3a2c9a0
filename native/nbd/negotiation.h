// Negotiation: the server's side of the fixed newstyle handshake, as a state machine over bytes.
//
// It does no I/O: whoever owns the socket passes on what arrives and sends what comes out. It therefore cannot block,
// takes input in pieces of any size, and runs under a fuzzer as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "native/nbd/protocol_handshake.h"
#include "native/nbd/session.h"

namespace rootloom::nbd {

class Negotiation {
 public:
  enum class State : uint8_t {
    kHaggling,      // more input is wanted
    kTransmission,  // session() holds; input after what Consume took belongs to the transmission phase
    kEnded,         // the client aborted or broke the protocol: send what is left to send, then hang up
  };

  // Appends the greeting, with which a server speaks first, to output.
  Negotiation(ExportInfo info, std::vector<std::byte>& output);

  // Takes input up to the end of one option at most, and appends the answer to output. Returns the bytes taken, which
  // is more than zero unless input is empty. Holds at most one option of kMaxOptionBytes; longer ones are skipped and
  // refused. REQUIRES: state() == kHaggling
  size_t Consume(std::span<const std::byte> input, std::vector<std::byte>& output);

  State state() const { return state_; }
  // REQUIRES: state() == kTransmission
  const Session& session() const { return session_; }

  // No honest option is longer: a name and a handful of context queries.
  static constexpr uint32_t kMaxOptionBytes = 64 << 10;
  // An option beyond this is taken for an attack: the client is disconnected.
  static constexpr uint32_t kMaxSkippedBytes = kMaxPayloadBytes;

 private:
  class Answer;

  void HandleClientFlags();
  void HandleOptionHeader();
  void HandleOption(Answer& answer);
  void HandleExportName(Answer& answer);
  void HandleInfo(Answer& answer);
  void HandleMetaContext(Answer& answer);
  void ExpectOption();
  bool IsOurName(std::string_view name) const { return name.empty() || name == info_.name; }
  std::span<const std::byte> option_data() const { return collected_; }

  enum class Expecting : uint8_t { kClientFlags, kOptionHeader, kOptionData };

  const ExportInfo info_;
  Session session_;
  State state_ = State::kHaggling;
  Expecting expecting_ = Expecting::kClientFlags;
  Option option_{};
  bool send_zeroes_ = true;
  bool oversized_ = false;            // the option's data is being skipped
  uint64_t missing_bytes_;            // until what is expected is complete
  std::vector<std::byte> collected_;  // what has arrived of it
};

}  // namespace rootloom::nbd
