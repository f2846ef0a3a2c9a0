// DeviceIo: a Device as an io_manager of e2fsprogs.
//
// e2fsprogs opens what it works on by name, through a table of functions without a context pointer. A DeviceIo is
// therefore entered in a process-wide registry under a name of its own, which the table's open function looks up; so
// any number can be open at once, and e2fsck may close and open its filesystem again.
//
// Rules of every transfer:
//  - The stop token is looked at first; when it is triggered, the transfer fails with ECANCELED.
//  - A device's failure is remembered with its errno and offset, and e2fsprogs is told the errno. The code that called
//    e2fsprogs asks for it with TakeFailure.
//  - Bytes beyond the device's end are e2fsprogs' short read or short write, not a failure of the device: broken
//    filesystems refer to them.
//  - What already reads as zeros is not zeroed again.
//  - e2fsprogs' flush is a no-op: what it orders by flushing is ordered on a Device anyway, and durability is decided
//  by
//    whoever owns the device, once, at the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_set>

#include "native/block/device.h"
#include "native/ext4/ext2fs.h"
#include "native/util/status.h"

namespace rootloom {

struct IoCounts {
  uint64_t read_calls = 0;
  uint64_t read_bytes = 0;
  uint64_t blocks_read = 0;  // distinct blocks of the device's block size
  uint64_t write_calls = 0;
  uint64_t written_bytes = 0;  // without what was zeroed or trimmed
  uint64_t blocks_written = 0;
  uint64_t zeroed_bytes = 0;
};

// Not thread-safe: one e2fsprogs call at a time. Must outlive every filesystem that was opened on it.
class DeviceIo {
 public:
  explicit DeviceIo(std::shared_ptr<Device> device);
  ~DeviceIo();
  DeviceIo(const DeviceIo&) = delete;
  DeviceIo& operator=(const DeviceIo&) = delete;

  // What ext2fs_open2, ext2fs_initialize and e2fsck are given: the manager, and the name of this device in it.
  static io_manager manager();
  const char* name() const { return name_.c_str(); }

  Device& device() { return *device_; }
  void SetStopToken(std::stop_token stop) { stop_ = std::move(stop); }
  // From here on the distinct blocks are counted too, which costs memory for each of them.
  void CountBlocks() { count_blocks_ = true; }
  IoCounts counts() const;

  // The first failure since the last call of this, or nothing; forgets it.
  std::optional<Failure> TakeFailure();
  bool has_failure() const { return failure_.has_value(); }

  // The transfers that the manager's functions make. A non-zero errcode_t is an errno.
  errcode_t Read(uint64_t offset_bytes, std::span<std::byte> buffer);
  errcode_t Write(uint64_t offset_bytes, std::span<const std::byte> data);
  errcode_t Zero(Range range);
  errcode_t Trim(Range range);  // the whole range reads as zeros afterwards, also where blocks are only partly covered
  errcode_t Open(int flags, io_channel* channel);

 private:
  errcode_t Remember(Status status);
  bool Stopped();
  errcode_t ZeroData(Range range);
  bool IsInside(Range range) const;
  void Count(std::unordered_set<uint64_t>& blocks, Range range);

  const std::shared_ptr<Device> device_;
  const std::string name_;
  std::stop_token stop_;
  std::optional<Failure> failure_;
  bool count_blocks_ = false;
  IoCounts counts_;
  std::unordered_set<uint64_t> read_blocks_;
  std::unordered_set<uint64_t> written_blocks_;
};

}  // namespace rootloom
