// Diff: reads the stored data of one build, plain or compressed.
//
// Plain data is read with preadv, which costs more in a chain of a thousand diffs than in a single one: what the kernel
// keeps of each file has left the processor's cache when the file's turn comes again. A mapping of the file knows no
// files, but one that is cut short, or a bad sector below it, kills whoever looks at the mapping with a signal. So a
// mapping is only lent, to system calls, which fail instead. The benchmark `chain` measures both ways.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "native/chain/frame_cache.h"
#include "native/chain/header.h"
#include "native/util/mapped_file.h"
#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom {

// Thread-safe. The file is opened on first use and then kept open; a failed opening is tried again by the next read.
class Diff {
 public:
  struct Source {
    std::string path;
    BuildData data;      // whose table says whether and how the file is compressed
    uint32_t cache_key;  // FrameCache::Key::diff, unique in cache
    FrameCache* cache;   // must outlive the diff
    // How many more diffs may be mapped, of all that share this; must outlive the diff. Without it none is.
    std::atomic<int>* mappings_left = nullptr;
  };

  explicit Diff(Source source)
      : compressed_(source.data.table.compression != Compression::kNone), source_(std::move(source)) {}

  bool compressed() const { return compressed_; }

  // Fills buffer with the uncompressed bytes at offset_bytes. Fails with kNotFound when there is no such file, and with
  // kCorrupt when it ends too soon, lacks the frame, or holds a damaged one; the failure names path and build, and says
  // where in the file.
  Status Read(uint64_t offset_bytes, std::span<std::byte> buffer);
  // The same into several buffers, one after the other. Changes the elements of buffers.
  Status Read(uint64_t offset_bytes, std::span<iovec> buffers);
  // Plain bytes of the file, as Device::Borrow lends them, until the diff is destroyed. Empty when they cannot be.
  std::span<const std::byte> Lend(uint64_t offset_bytes, uint64_t length_bytes);
  // Keeps nothing resident of what was lent; it stays lent.
  void ForgetLent();
  // Says that these uncompressed bytes are about to be read. A hint: what is wrong shows when they are.
  void Prefetch(uint64_t offset_bytes, uint64_t length_bytes);

 private:
  // The open file's descriptor, which the diff owns.
  Result<int> Open();
  // The mapped file; null when there is none to be had.
  const std::byte* Map();
  // Reads stored bytes, and tells a file that ends too soon from one that cannot be read.
  Status ReadStored(uint64_t offset_bytes, std::span<iovec> buffers);
  Status ReadFrames(uint64_t offset_bytes, std::span<std::byte> buffer);
  Status UnpackFrame(const Frame& frame, std::span<std::byte> target);
  Status Corrupt(std::string detail, uint64_t offset_bytes) const;

  // All that reading or lending plain data needs, in one cache line: in a chain of a thousand diffs hardly one of them
  // is still in the cache when its turn comes again.
  alignas(64) std::atomic<int> opened_fd_ = -1;
  const bool compressed_;
  std::atomic<bool> can_map_ = true;
  uint64_t file_size_bytes_ = 0;                        // set before opened_fd_
  std::atomic<const std::byte*> lent_bytes_ = nullptr;  // of mapping_

  const Source source_;
  std::mutex open_mutex_;
  // Set once, under open_mutex_.
  UniqueFd fd_;
  MappedFile mapping_;
};

}  // namespace rootloom
