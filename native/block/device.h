// Device: the one block interface. Chains, overlays, the NBD server and ext4 all speak it and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/util/status.h"

namespace rootloom {

struct Range {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  uint64_t end_bytes() const { return offset_bytes + length_bytes; }
  bool operator==(const Range&) const = default;
};

enum class ExtentKind : uint8_t {
  kData,  // stored bytes, possibly zero
  kZero,  // reads as zeros and is recorded as such
  kHole,  // reads as zeros because nothing was ever stored
};

struct Extent {
  Range range;
  ExtentKind kind = ExtentKind::kData;
  bool operator==(const Extent&) const = default;
};

// Which of the parts that a device is put together from holds a range.
struct Origin {
  Range range;
  uint32_t number = 0;  // kNoOrigin, or counted from 1 in the order of Device::OriginNames
  bool operator==(const Origin&) const = default;
};
constexpr uint32_t kNoOrigin = 0;  // zeros, content of the device's own, or not known

enum class Durability : uint8_t {
  kBuffered,  // durable after the next successful Flush
  kDurable,   // durable when the call returns (FUA)
};

// Data in several places of memory that goes to one place of a device, piece after piece.
using DataRow = std::span<const std::span<const std::byte>>;
constexpr size_t kMaxRowPieces = 64;

// Bounds of every block size that a device can be made with.
constexpr uint32_t kMinBlockSize = 512;
constexpr uint32_t kDefaultBlockSize = 4096;
constexpr uint32_t kMaxBlockSize = 64 << 20;

// Fails with kInvalidArgument unless block_size is a power of two between these bounds.
Status CheckBlockSize(const char* operation, uint32_t block_size);

// Keeps alive what lent bytes (Device::Borrow) until all of them are given back at once. One thread.
class Lenders {
 public:
  bool empty() const { return lenders_.empty(); }
  // lender is one that std::enable_shared_from_this is a base of.
  template <typename Lender>
  void Keep(Lender& lender) {
    for (const auto& kept : lenders_) {
      if (kept.get() == &lender) return;
    }
    lenders_.push_back(lender.shared_from_this());
  }
  void Release() { lenders_.clear(); }

 private:
  std::vector<std::shared_ptr<const void>> lenders_;
};

// A fixed-size array of bytes.
//
// The public calls check the range once and refuse anything beyond the end with kInvalidArgument (errno EINVAL);
// implementations may rely on it. Any byte range is allowed; ranges aligned to block_size() are fastest.
// A failure carries errno, the operation and the offset, and leaves the affected range undefined between old and
// new content; nothing outside the range changes. A call for which there is no memory fails with ENOMEM: nothing is
// thrown, whatever an implementation allocates.
//
// Thread-safe: any number of calls at once from any thread. Concurrent writes to overlapping bytes leave, for each
// block, the result of one of them. A read beside a write of the same bytes may see a part of it.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  // What this device is, for errors and logs: "overlay of chain 5f0c…".
  virtual std::string name() const = 0;
  virtual uint64_t size_bytes() const = 0;
  // The unit of change tracking and of efficient I/O; a power of two, at least 512.
  virtual uint32_t block_size() const = 0;
  virtual bool writable() const = 0;

  // Fills buffer with the bytes at offset_bytes. A short read is a failure.
  Status Read(uint64_t offset_bytes, std::span<std::byte> buffer);
  // An optional ability: lends the bytes of a range where they lie, so that nobody has to copy them. Empty when that
  // cannot be done, or would be slower than reading. What is lent is what Read would have given at the time of the
  // call; it does not change, and stays until lenders releases it, also when the device is gone before.
  //
  // It is for system calls to take, not for the process to look at: what a device lends may be a mapped file. Where
  // Read would fail, the system call fails with EFAULT; Read then tells why. Only a page that the file ends inside of
  // reads as zeros from there on, as if the file had been made longer again.
  std::span<const std::byte> Borrow(Range range, Lenders& lenders);
  // Writes all of data. Fails with EROFS when the device is not writable; so do Zero and Trim.
  Status Write(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability = Durability::kBuffered);
  // Writes every piece of a row as Write would, and in as few steps for all of them as the device can: outcomes[i] is
  // what came of the i-th. REQUIRES: at most kMaxRowPieces, and as many outcomes
  void WriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes);
  // Makes the range read as zeros. Frees space where the implementation can.
  Status Zero(Range range, Durability durability = Durability::kBuffered);
  // Says that the content of the range is no longer needed. Every device here makes whole blocks read as zeros
  // afterwards; bytes of a block that is only partly covered keep their content.
  Status Trim(Range range);
  // After success every write that had returned before the call is durable. A write error that was not yet
  // reported is reported here.
  virtual Status Flush() = 0;
  // The extents that cover the range, in order, neighbours of one kind joined, at most max_count of them (then the
  // rest of the range is left out). Never empty for a range that is not empty.
  Result<std::vector<Extent>> Extents(Range range, size_t max_count = SIZE_MAX);
  // Says that these ranges are about to be read, so that a device whose bytes are far away can fetch them all at once.
  // A hint: it does not wait for them, cannot fail, and changes nothing; what lies beyond the end is left out.
  void Prefetch(std::span<const Range> ranges);

  // An optional ability: a device that is put together from parts with names, as a chain is from builds, says which
  // parts there are, and where each lies. Without names every range is of no origin. Names do not change.
  virtual std::vector<std::string> OriginNames() const { return {}; }
  // The origins that cover the range, in the manner of Extents.
  Result<std::vector<Origin>> Origins(Range range, size_t max_count = SIZE_MAX);

 protected:
  virtual Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) = 0;
  virtual std::span<const std::byte> DoBorrow(Range, Lenders&) { return {}; }
  virtual Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) = 0;
  // An ability that a device need not have: this writes piece by piece. One that writes many at once leaves a row that
  // it could not write to this, so that each piece gets an outcome of its own. The row is not empty.
  virtual void DoWriteRow(uint64_t offset_bytes, DataRow row, Durability durability, std::span<Status> outcomes);
  virtual Status DoZero(Range range, Durability durability) = 0;
  virtual Status DoTrim(Range range) = 0;
  virtual Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) = 0;
  // An ability that a device need not have. The ranges are not empty, and end within the device.
  virtual void DoPrefetch(std::span<const Range>) {}
  virtual Result<std::vector<Origin>> DoOrigins(Range range, [[maybe_unused]] size_t max_count) {
    return std::vector<Origin>{{range, kNoOrigin}};
  }

  // Fails when the range ends beyond the device. A device whose size can change asks again once it cannot.
  Status CheckRange(const char* operation, Range range) const;

 private:
  Status CheckWritable(const char* operation, Range range) const;
};

}  // namespace rootloom
