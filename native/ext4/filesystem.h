// Filesystem: an open ext4 filesystem on a Device; owns the ext2_filsys.
//
// Every ext2fs_* call on raw() is passed through Check, which turns its error code into a Status that carries the
// device's own errno and offset when the device was the cause.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "native/block/device.h"
#include "native/ext4/ext2fs.h"
#include "native/ext4/io_manager.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

enum class JournalPolicy : uint8_t {
  kMustBeReplayed,  // refuse with kUnsupported when the journal holds changes that the filesystem does not have yet
  kIgnored,         // open as is; what is read may be older than the journal
};

struct OpenOptions {
  bool writable = false;
  JournalPolicy journal = JournalPolicy::kMustBeReplayed;
  bool superblock_only = false;  // do not read the group descriptors
};

// Makes e2fsprogs' error code a failure of operation. cause is what DeviceIo remembered, and wins when it is there,
// over success, too: e2fsprogs has places that go on without what they could not read or write.
Status FromErrcode(errcode_t code, const char* operation, const std::string& path,
                   std::optional<Failure> cause = std::nullopt);

// Not thread-safe: one call at a time, from any thread. Two Filesystem objects on different devices are independent.
class Filesystem {
 public:
  // Fails with kCorrupt when there is no sound ext4 filesystem or when it is larger than the device, with
  // kUnsupported for features that e2fsprogs does not know. context is used until the next SetContext.
  static Result<std::unique_ptr<Filesystem>> Open(std::shared_ptr<Device> device, const OpenOptions& options,
                                                  const CallContext& context);
  // Takes over a filesystem that was made on io, by ext2fs_initialize or resize_fs.
  Filesystem(std::unique_ptr<DeviceIo> io, ext2_filsys fs) : io_(std::move(io)), fs_(fs) {}
  // Frees without writing anything. Whoever wants changes kept calls Close.
  ~Filesystem();
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  ext2_filsys raw() { return fs_; }
  ext2_super_block& super() { return *fs_->super; }
  DeviceIo& io() { return *io_; }
  Device& device() { return io_->device(); }

  // Ok for code 0 when the device has not failed since the last time, else the failure of operation on path (the
  // device's name when empty). Either way what the device's I/O remembered is forgotten afterwards.
  Status Check(errcode_t code, const char* operation, const std::string& path = "");

  // The stop token of the calls from here on: one call of the library, one context.
  void SetContext(const CallContext& context) { io_->SetStopToken(context.stop); }
  // Every transfer looks at that token; this is for what takes long between two of them.
  Status CheckStopped(const char* operation) const {
    return io_->stop_token().stop_requested() ? Status::Cancelled(operation) : Status::Ok();
  }
  // The time, in seconds since 1970, that e2fsprogs writes from here on; nothing: the clock's, as after Open.
  void SetTime(std::optional<int64_t> seconds);

  // Reads both bitmaps into memory; needed before anything is allocated or freed. Idempotent.
  Status ReadBitmaps();
  // Writes all changed metadata to the device, and flushes the device.
  Status Flush();
  // Writes all changed metadata to the device, without flushing it, and frees. After a failure the filesystem is
  // freed too, and the device holds something between old and new. Nothing else may be called afterwards.
  Status Close();
  // Gives up the filesystem to resize_fs or e2fsck, which free it themselves.
  ext2_filsys Release() { return std::exchange(fs_, nullptr); }

 private:
  // io_ is declared first: it must outlive the filesystem's channel.
  std::unique_ptr<DeviceIo> io_;
  ext2_filsys fs_;
};

}  // namespace rootloom
