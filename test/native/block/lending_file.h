// LendingFile: a read-only device that reads one file, and lends another that holds the same: what happens to either
// shows which of them was used.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "native/block/file_device.h"
#include "native/util/file_io.h"
#include "native/util/mapped_file.h"

namespace rootloom::testing {

class LendingFile final : public Device, public std::enable_shared_from_this<LendingFile> {
 public:
  // Makes both files, of at least one byte. lent_path may be path.
  static std::shared_ptr<LendingFile> Make(const std::string& path, const std::string& lent_path,
                                           std::span<const std::byte> content) {
    for (const std::string& each : {path, lent_path}) {
      const UniqueFd file = OpenFile(each, O_RDWR | O_CREAT).value();
      if (!PwriteAll(file.get(), content, 0, each).ok()) std::abort();
    }
    const UniqueFd lent = OpenFile(lent_path, O_RDONLY).value();
    return std::shared_ptr<LendingFile>(
        new LendingFile(FileDevice::Open(path, {}).value(), MappedFile::Map(lent.get(), content.size())));
  }

  std::string name() const override { return "lending " + file_->name(); }
  uint64_t size_bytes() const override { return mapped_.bytes().size(); }
  uint32_t block_size() const override { return file_->block_size(); }
  bool writable() const override { return false; }
  Status Flush() override { return Status::Ok(); }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override {
    return file_->Read(offset_bytes, buffer);
  }
  std::span<const std::byte> DoBorrow(Range range, Lenders& lenders) override {
    lenders.Keep(*this);
    return mapped_.bytes().subspan(range.offset_bytes, range.length_bytes);
  }
  Status DoWrite(uint64_t, std::span<const std::byte>, Durability) override { return Refuse(); }
  Status DoZero(Range, Durability) override { return Refuse(); }
  Status DoTrim(Range) override { return Refuse(); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override {
    return file_->Extents(range, max_count);
  }

 private:
  LendingFile(std::shared_ptr<Device> file, MappedFile mapped) : file_(std::move(file)), mapped_(std::move(mapped)) {}
  static Status Refuse() { return Status::Errno("change", "a lending file", EROFS); }

  const std::shared_ptr<Device> file_;
  const MappedFile mapped_;
};

}  // namespace rootloom::testing
