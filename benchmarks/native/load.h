// Load: one connection that keeps a fixed number of requests under way, and looks at every answer.
//
// Made to cost less than what it measures: request headers are laid out beforehand, all answers that have arrived are
// taken in one system call, and the requests that replace them leave in another. It never waits in a send, so a server
// that does not read until its answers are taken is no deadlock.
//
// What is written has in the first eight bytes of every 512-byte sector a word that says which sector it is. With
// verify, that is what a read must return.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "benchmarks/native/handshake.h"
#include "benchmarks/native/histogram.h"
#include "benchmarks/native/walk.h"
#include "native/nbd/protocol.h"
#include "native/util/status.h"

namespace rootloom::bench {

struct LoadPlan {
  uint32_t depth = 64;
  uint32_t block_bytes = 4096;  // a multiple of 512
  uint32_t read_percent = 100;
  bool verify = false;
  uint64_t start_ns = 0;  // answers are counted from here on
  uint64_t end_ns = 0;    // no request is sent after that
};

struct LoadResult {
  uint64_t requests = 0;  // answered from start_ns to end_ns
  uint64_t last_answer_ns = 0;
  Histogram latency;
};

// The steady clock.
uint64_t NowNs();

class Load {
 public:
  Load(Server server, const LoadPlan& plan, const Walk::Parts& walk);

  // Runs to the end of the plan, or of the walk. Any error of the server, and any answer that is not what was asked
  // for, is a failure. Called once.
  Status Run();
  const LoadResult& result() const { return result_; }

 private:
  struct Slot {
    nbd::RequestHeader header;
    bool is_read = false;
    bool under_way = false;
    uint64_t offset_bytes = 0;
    uint64_t start_ns = 0;
    uint32_t received_bytes = 0;        // of a READ's data, holes included
    std::unique_ptr<std::byte[]> data;  // what a WRITE sends
  };
  // Data of a READ that is on its way in.
  struct Incoming {
    Slot* slot = nullptr;
    uint64_t offset_bytes = 0;  // of the next byte
    uint32_t missing_bytes = 0;
    bool done = false;  // the answer ends with it
  };

  void Prepare(uint32_t index);
  Status SendReady();
  Status Receive();
  Status WaitForSocket();
  Status Parse();
  Result<bool> ParseHeader();
  Result<bool> ParseChunk(const nbd::ChunkHeader& chunk);
  Status ParseData();
  Status Finish(Slot& slot);
  Result<Slot*> FindSlot(uint64_t cookie);
  Status Wrong(const char* what, uint64_t offset_bytes) const;
  std::span<const std::byte> input() const { return {input_.get() + begin_, end_ - begin_}; }

  const Server server_;
  const LoadPlan plan_;
  Walk walk_;
  std::vector<Slot> slots_;
  std::vector<iovec> ready_;    // to be sent, from ready_begin_ on
  std::vector<uint32_t> free_;  // slots whose answer has come
  size_t ready_begin_ = 0;
  uint32_t under_way_ = 0;
  std::unique_ptr<std::byte[]> input_;
  size_t begin_ = 0;
  size_t end_ = 0;
  Incoming incoming_;
  uint64_t now_ns_ = 0;  // when the last system call returned
  LoadResult result_;
};

}  // namespace rootloom::bench
