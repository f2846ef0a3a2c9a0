// What is offered to clients, and what one client and the server agreed on.
#pragma once

#include <cstdint>
#include <string>

namespace rootloom::nbd {

// Fixed for the life of a server; every client sees the same.
struct ExportInfo {
  std::string name;         // what clients ask for; the empty name always means this export too
  std::string description;  // for people: the device's name
  uint64_t size_bytes = 0;
  uint32_t preferred_block_bytes = 4096;  // a power of two, at least 512
  bool read_only = false;
};

// The outcome of a handshake, or of another way to meet (a kernel client is told the same by other means).
struct Session {
  uint64_t size_bytes = 0;
  bool read_only = false;
  bool structured_replies = false;
  bool base_allocation = false;  // BLOCK_STATUS may be asked; implies structured_replies
};

// The id of base:allocation in BLOCK_STATUS replies, as told in the handshake.
inline constexpr uint32_t kBaseAllocationId = 1;

// The transmission flags of an export for a client that did or did not negotiate structured replies.
uint16_t TransmissionFlags(bool read_only, bool structured_replies);

}  // namespace rootloom::nbd
