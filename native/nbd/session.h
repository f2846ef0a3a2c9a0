// What is offered to clients, and what one client and the server agreed on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rootloom::nbd {

// Fixed for the life of a server; every client sees the same.
struct ExportInfo {
  std::string name;         // what clients ask for; the empty name always means this export too
  std::string description;  // for people: the device's name
  uint64_t size_bytes = 0;
  uint32_t preferred_block_bytes = 4096;  // a power of two, at least 512
  bool read_only = false;
  // The parts that the device is put together from, in the order of their numbers (Device::OriginNames).
  std::vector<std::string> origin_names;
};

// The outcome of a handshake, or of another way to meet (a kernel client is told the same by other means).
struct Session {
  uint64_t size_bytes = 0;
  bool read_only = false;
  bool structured_replies = false;
  // Metadata contexts: with one of them BLOCK_STATUS may be asked. Each implies structured_replies.
  bool base_allocation = false;
  bool origins = false;

  bool any_context() const { return base_allocation || origins; }
};

// The ids of the contexts in BLOCK_STATUS replies, as told in the handshake.
inline constexpr uint32_t kBaseAllocationId = 1;
inline constexpr uint32_t kOriginsId = 2;

// The transmission flags of an export for a client that did or did not negotiate structured replies.
uint16_t TransmissionFlags(bool read_only, bool structured_replies);

}  // namespace rootloom::nbd
