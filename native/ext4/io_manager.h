// DeviceIo: a Device as an io_manager of e2fsprogs.
//
// e2fsprogs opens what it works on by name, through a table of functions without a context pointer. A DeviceIo is
// therefore entered in a process-wide registry under a name of its own, which the table's open function looks up; so
// any number can be open at once, and e2fsck may close and open its filesystem again.
//
// Rules of every transfer:
//  - The stop token is looked at first; when it is triggered, the transfer fails with ECANCELED.
//  - What is opened read-only cannot be written, whatever the device allows: EROFS, and no failure of the device.
//  - A device's failure is remembered with its errno and offset, and e2fsprogs is told the errno. The code that called
//    e2fsprogs asks for it with TakeFailure.
//  - Bytes beyond the device's end are e2fsprogs' short read or short write, not a failure of the device: broken
//    filesystems refer to them.
//  - What already reads as zeros is not zeroed again.
//  - A read of several chunks is announced to the device first, and so is what e2fsprogs reads ahead.
//  - A backup of the superblock is written as a whole block, the rest of which is nobody's: keeping the rest would mean
//    reading a block of every group that has one.
//  - e2fsprogs' flush is a no-op: what it orders by flushing is ordered on a Device anyway, and durability is decided
//    by whoever owns the device, once, at the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "native/block/device.h"
#include "native/ext4/ext2fs.h"
#include "native/ext4/io_counts.h"
#include "native/util/status.h"

namespace rootloom {

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
  const std::stop_token& stop_token() const { return stop_; }
  // Of everything since this was made.
  IoCounts counts() const;

  // The first failure since the last call of this, or nothing; forgets it.
  std::optional<Failure> TakeFailure();
  bool has_failure() const { return failure_.has_value(); }

  // The transfers that the manager's functions make. A non-zero errcode_t is an errno.
  errcode_t Read(uint64_t offset_bytes, std::span<std::byte> buffer);
  errcode_t Write(uint64_t offset_bytes, std::span<const std::byte> data);
  errcode_t Zero(Range range);
  errcode_t Trim(Range range);  // the whole range reads as zeros afterwards, also where blocks are only partly covered
  // A backup of the superblock, at the start of a block of block_size.
  errcode_t WriteSuperblockBackup(uint64_t offset_bytes, std::span<const std::byte> data, uint32_t block_size);
  // Announces what will be read, so that a device can fetch it in one go.
  void Prefetch(std::span<const Range> ranges);
  errcode_t Open(int flags, io_channel* channel);

 private:
  errcode_t Remember(Status status);
  bool Stopped();
  errcode_t ZeroData(Range range);
  bool IsInside(Range range) const;

  const std::shared_ptr<Device> device_;
  const std::string name_;
  std::stop_token stop_;
  std::optional<Failure> failure_;
  IoCounts counts_;
  TouchedBlocks read_;
  TouchedBlocks written_;
};

}  // namespace rootloom
