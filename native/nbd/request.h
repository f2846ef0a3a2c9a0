// Request: one request of a client from its arrival to its answer, and the rules for refusing it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "native/nbd/protocol.h"
#include "native/nbd/session.h"
#include "native/nbd/worker_pool.h"

namespace rootloom::nbd {

// A byte buffer that grows without keeping or clearing its content.
class Buffer {
 public:
  // Makes room for size bytes; what was in it is lost when it has to grow. False when there is no memory.
  bool Reserve(size_t size_bytes);
  void Free();
  std::byte* data() const { return bytes_.get(); }
  size_t capacity() const { return capacity_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  size_t capacity_ = 0;
};

class Connection;

struct Request final : Task {
  // Set by whoever receives it.
  Command command{};
  uint16_t flags = 0;
  uint64_t cookie = 0;
  uint64_t offset_bytes = 0;
  uint32_t length_bytes = 0;
  std::span<const std::byte> payload;  // with WRITE: the data, in buffer or in memory that outlives the operation

  // Set by Execute or Refuse: the whole answer, ready to send. It lies in buffer or in short_reply, and what follows it
  // where the device has lent it, or in buffer.
  std::span<const std::byte> reply;
  std::span<const std::byte> lent;
  bool failed = false;

  // The payload of a WRITE until it is executed, and then the answer where short_reply is too short for it.
  Buffer buffer;
  std::array<std::byte, 64> short_reply;

  uint64_t cost_bytes = 0;           // what it counts for in the limit of bytes under way
  size_t kept_bytes = 0;             // the capacity of buffer when the request was last released
  Connection* connection = nullptr;  // runs it when it is submitted as a task
  // In queues, and from one WRITE of a row to the next (see operation.h).
  Request* next = nullptr;

  size_t answer_bytes() const { return reply.size() + lent.size(); }
  bool Has(uint16_t flag) const { return (flags & flag) != 0; }
  void Run() override;
};

using RequestFifo = Fifo<Request, &Request::next>;

// Why a request is refused before it reaches the device.
struct Refusal {
  WireError error;
  const char* message;
};

// Checks a request against the session: known command and flags, permission, bounds, length limits. nullopt: it may
// run.
std::optional<Refusal> CheckRequest(const Request& request, const Session& session);

}  // namespace rootloom::nbd
