// SealQueue: has the blocks that a seal must look at read, judged and stored by several threads at once, and gives the
// same diff as one thread would.
//
// Blocks are added in the device's order and gathered into batches. A batch is read and judged by whichever thread is
// free; then, in order, each batch gets its place in the diff, and is digested where that is asked for; then its data
// is stored, again side by side. So nothing waits but the placing, which takes microseconds, and the digest. Threads
// are started when there is work for them: a small seal is done by the caller alone.
#pragma once

#include <sys/uio.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "native/block/device.h"
#include "native/chain/diff_writer.h"
#include "native/util/aligned_buffer.h"
#include "native/util/call_context.h"
#include "native/util/sha256.h"
#include "native/util/status.h"

namespace rootloom {

struct BlockCounts {
  uint64_t data = 0;
  uint64_t zero = 0;
  uint64_t dropped = 0;
};

// Where the bytes of a range of the device are found: on a device, or in a file, in either at the same offset. Neither:
// they are zeros.
struct SealPiece {
  Range range;
  Device* device = nullptr;
  int fd = -1;
  const std::string* path = nullptr;  // of fd, for errors
};

// Memory is bounded: for each thread two buffers of 1 MiB, or of one block when that is larger.
class SealQueue {
 public:
  struct Options {
    DiffWriter& writer;    // not used by anybody else until Finish has returned
    uint32_t block_bytes;  // a power of two, whole pages
    // What a block is compared with, zeros beyond its end; null when there is nothing to compare with. A block that is
    // equal is dropped.
    Device* base;
    uint64_t total_bytes;  // for progress
    const CallContext& context;
    // Gets all data in order, when it is not null; one thread at a time.
    Sha256* digest = nullptr;
  };

  explicit SealQueue(const Options& options);
  // Gives up what was not finished, and joins.
  ~SealQueue();

  // Adds blocks: ranges come in ascending order, start at a whole block, and end at one or at the device's end. Waits
  // while too much is under way. Fails as soon as anything that was added before has failed.
  Status Add(SealPiece piece);
  // Counts progress for blocks that need no look.
  void Skip(uint64_t length_bytes);
  // Returns when all that was added is in the diff, though not yet durable, or has failed.
  Status Finish();

  // REQUIRES: Finish has succeeded
  const BlockCounts& counts() const { return counts_; }

 private:
  enum class Verdict : uint8_t { kData, kZero, kSame };
  struct Batch {
    uint64_t number = 0;
    uint64_t bytes = 0;  // to be read
    std::vector<SealPiece> pieces;
  };
  // Blocks of one piece with one verdict.
  struct Run {
    Verdict verdict;
    Range range;
    const SealPiece* piece;
    size_t buffer_at;            // of the bytes that were read
    uint64_t storage_bytes = 0;  // in the diff, once placed
  };
  struct Workspace {
    AlignedBuffer data;
    std::vector<std::byte> base;
    std::vector<Run> runs;
    std::vector<iovec> gathered;
  };

  Status HandOver();
  void StartThread();
  void Work();
  // Takes the oldest batch that waits, and does it. REQUIRES: lock is held, and one waits
  void DoOne(std::unique_lock<std::mutex>& lock, Workspace& workspace);
  Status Process(const Batch& batch, Workspace& workspace);
  Status Judge(const Batch& batch, Workspace& workspace);
  Status ReadPiece(const SealPiece& piece, size_t at, Workspace& workspace);
  void JudgePiece(const SealPiece& piece, size_t at, Workspace& workspace) const;
  Status Place(const Batch& batch, Workspace& workspace);
  Status Digest(const Batch& batch, Workspace& workspace);
  Status Store(Workspace& workspace);
  void Fail(const Status& status);

  const Options options_;
  const size_t batch_bytes_;
  const size_t max_threads_;
  Batch filling_;  // the caller's own
  uint64_t skipped_bytes_ = 0;
  Workspace workspace_;  // of the caller
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // ---- protected by mutex_ ----
  std::deque<Batch> waiting_;
  size_t idle_threads_ = 0;
  size_t working_ = 0;
  uint64_t next_placed_ = 0;    // the batch whose turn it is
  uint64_t next_digested_ = 0;  // the same, for the digest
  uint64_t done_bytes_ = 0;
  BlockCounts counts_;
  std::optional<Failure> failure_;
  bool ended_ = false;
};

}  // namespace rootloom
