// Content on its way into a tree and out of it, in pieces, so that no file has to fit into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// What a file is to hold. Its owner keeps it alive, and reads it once.
class ContentSource {
 public:
  struct Piece {
    uint64_t offset_bytes = 0;
    std::span<const std::byte> data;
  };

  virtual ~ContentSource() = default;
  // For errors.
  virtual const std::string& name() const = 0;
  virtual uint64_t size_bytes() const = 0;
  // The next piece, valid until the call after it: behind the one before, inside the size, and not empty but at the
  // end. What lies between pieces is zeros.
  virtual Result<Piece> Next(const CallContext& context) = 0;
};

// Takes what a file holds. A failure of either function ends the reading, which then fails with it.
class ContentSink {
 public:
  virtual ~ContentSink() = default;
  // Told first, once: how much there is to be read, with its holes.
  virtual Status Begin(uint64_t length_bytes) = 0;
  // Pieces at ascending offsets of the file, inside of what is read; what lies between them is zeros.
  virtual Status Put(uint64_t offset_bytes, std::span<const std::byte> data) = 0;
};

// Bytes in memory.
class MemorySource final : public ContentSource {
 public:
  MemorySource(std::string name, std::span<const std::byte> data) : name_(std::move(name)), data_(data) {}
  const std::string& name() const override { return name_; }
  uint64_t size_bytes() const override { return data_.size(); }
  Result<Piece> Next(const CallContext& context) override;

 private:
  const std::string name_;
  const std::span<const std::byte> data_;
  bool given_ = false;
};

// A regular file of the host; what it has as holes is not read.
class HostFileSource final : public ContentSource {
 public:
  // Fails for what is no regular file. fd stays the caller's; path is for errors.
  static Result<HostFileSource> Open(int fd, const std::string& path);
  const std::string& name() const override { return path_; }
  uint64_t size_bytes() const override { return size_bytes_; }
  Result<Piece> Next(const CallContext& context) override;

 private:
  HostFileSource(int fd, std::string path, uint64_t size_bytes)
      : fd_(fd), path_(std::move(path)), size_bytes_(size_bytes) {}

  int fd_;
  std::string path_;
  uint64_t size_bytes_;
  uint64_t offset_bytes_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace rootloom
