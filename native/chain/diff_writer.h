// DiffWriter: writes the packed diff of a new build, and keeps the mappings that say where everything went.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "native/chain/mapping.h"
#include "native/chain/new_file.h"
#include "native/util/file_io.h"
#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom {

// Runs are whole pages. Each is placed first, in ascending order and without overlap: data is packed in that order. Its
// bytes are written at any time after that, by any thread.
//
// The file is removed again unless Finish succeeded and Keep was called.
class DiffWriter {
 public:
  // source is the index under which the mappings name the new build.
  static Result<std::unique_ptr<DiffWriter>> Create(const std::string& path, uint16_t source);

  // Says that the diff will hold this run, and returns where in it.
  uint64_t PlaceData(uint64_t offset_bytes, uint64_t length_bytes);
  void PlaceZeros(uint64_t offset_bytes, uint64_t length_bytes);

  // From here on, long rows in aligned memory are written past the page cache, where the filesystem can: gigabytes that
  // nobody reads soon need not push out what somebody does, and Finish has nothing to wait for. Room for them is made
  // ahead, for at most most_bytes in all, so that writes need not wait for each other. REQUIRES: nothing is written yet
  void WriteDirectly(uint64_t most_bytes);

  // Writes the bytes of a run, or of several that are next to each other in the diff. Thread-safe.
  Status Write(uint64_t storage_bytes, std::span<iovec> data);
  // Has a run share the blocks of a file that holds its bytes, instead of writing them. False where the filesystem
  // cannot: then they are to be written. (Copying inside the kernel is no way between: on ext4 it takes longer than to
  // write what the processor has just read.) Thread-safe.
  bool Share(int fd, uint64_t fd_offset_bytes, uint64_t storage_bytes, uint64_t length_bytes);

  // Has the kernel begin to store what is written of the diff's first end_bytes, so that Finish finds little left to
  // do. By one thread, in ascending order.
  Status StoreUpTo(uint64_t end_bytes);
  // Makes the diff durable.
  Status Finish();
  void Keep() { file_.Keep(); }

  uint64_t size_bytes() const { return size_bytes_; }
  const std::vector<Mapping>& mappings() const { return mappings_; }

 private:
  DiffWriter(NewFile file, uint16_t source) : file_(std::move(file)), source_(source) {}

  void MakeRoom(uint64_t end_bytes);

  NewFile file_;
  const uint16_t source_;
  uint64_t size_bytes_ = 0;
  UniqueFd direct_;          // writes past the page cache; invalid where that is not wanted or cannot be
  uint64_t most_bytes_ = 0;  // of the diff; 0 unless writing directly
  std::mutex room_mutex_;
  uint64_t room_bytes_ = 0;  // made so far; protected by room_mutex_
  std::atomic<bool> can_share_ = true;
  StoreBehind store_;
  uint64_t stored_to_bytes_ = 0;  // what store_ was told of ends here
  std::vector<Mapping> mappings_;
};

}  // namespace rootloom
