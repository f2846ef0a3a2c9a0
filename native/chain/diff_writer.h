// DiffWriter: writes the packed diff of a new build, and keeps the mappings that say where everything went.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "native/chain/mapping.h"
#include "native/chain/new_file.h"
#include "native/util/file_io.h"
#include "native/util/status.h"

namespace rootloom {

// Runs are whole pages and are added in ascending order, without overlap; data is packed in that order.
//
// The file is removed again unless Finish succeeded and Keep was called.
class DiffWriter {
 public:
  // source is the index under which the mappings name the new build.
  static Result<DiffWriter> Create(const std::string& path, uint16_t source);

  Status AddData(uint64_t offset_bytes, std::span<const std::byte> data);
  // The same with data that lies in a file: copied inside the kernel, as a reflink where the filesystem can.
  Status AddDataFrom(int fd, uint64_t fd_offset_bytes, uint64_t offset_bytes, uint64_t length_bytes);
  void AddZeros(uint64_t offset_bytes, uint64_t length_bytes);

  // Makes the diff durable.
  Status Finish() { return file_.Sync(); }
  void Keep() { file_.Keep(); }

  uint64_t size_bytes() const { return size_bytes_; }
  const std::vector<Mapping>& mappings() const { return mappings_; }

 private:
  DiffWriter(NewFile file, uint16_t source) : file_(std::move(file)), source_(source) {}
  void Map(uint64_t offset_bytes, uint64_t length_bytes, uint16_t source);

  NewFile file_;
  uint16_t source_;
  uint64_t size_bytes_ = 0;
  StoreBehind store_;
  std::vector<Mapping> mappings_;
};

}  // namespace rootloom
