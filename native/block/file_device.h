// FileDevice: a raw disk image in a regular file.
#pragma once

#include <memory>
#include <optional>

#include "native/block/device.h"
#include "native/block/sticky_sync.h"
#include "native/util/unique_fd.h"

namespace rootloom {

struct FileDeviceOptions {
  bool writable = false;
  // Makes the file, with this size and all holes. It must not exist (EEXIST). Needs writable.
  std::optional<uint64_t> create_size_bytes;
  uint32_t block_size = kDefaultBlockSize;
};

// The size is the file's when it was opened: nobody else may change it meanwhile. Extents are what the filesystem
// knows about holes. Zero and Trim punch holes, or write zeros where the filesystem cannot.
//
// Flush is fdatasync. When it reports that written data was lost, this and every later Flush fail with that error.
class FileDevice final : public Device {
 public:
  // Fails with kUnsupported when path is not a regular file.
  static Result<std::shared_ptr<FileDevice>> Open(const std::string& path, const FileDeviceOptions& options = {});

  std::string name() const override { return path_; }
  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t block_size() const override { return block_size_; }
  bool writable() const override { return writable_; }
  Status Flush() override;

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  void DoWriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  void DoPrefetch(std::span<const Range> ranges) override;

 private:
  FileDevice(std::string path, UniqueFd fd, uint64_t size_bytes, const FileDeviceOptions& options);

  Status WriteZeros(Range range);

  const std::string path_;
  const UniqueFd fd_;
  const uint64_t size_bytes_;
  const uint32_t block_size_;
  const bool writable_;
  StickySync sync_;
};

}  // namespace rootloom
