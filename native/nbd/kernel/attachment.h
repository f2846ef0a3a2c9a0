// Attachment: a device bound to a /dev/nbdN.
//
// Acquire, and release in exact reverse:
//
//   1. device, serving threads on socket pairs       9. join the threads, let go of the device
//   2. a slot of the pool (locked, on record)       10. give the slot back
//   3. a guard, should this process be killed        8. have it look away
//   4. link: the kernel gets its ends                7. disconnect, then wait until nobody uses /dev/nbdN
//   5. a descriptor of /dev/nbdN                     6. fsync of that descriptor, and close it
//
// The descriptor is opened before anybody can know the path, so before the first write: an error of a write is told by
// the next fsync of every descriptor that was open when it happened, and of no other. Everything between is released in
// the same way when attaching fails or is cancelled half-way.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "native/block/device.h"
#include "native/nbd/counters.h"
#include "native/nbd/kernel/guard.h"
#include "native/nbd/kernel/late_device.h"
#include "native/nbd/kernel/link.h"
#include "native/nbd/kernel/pair_server.h"
#include "native/nbd/kernel/pool.h"
#include "native/nbd/kernel/queue_settings.h"
#include "native/util/call_context.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

class Attachment {
 public:
  struct Options {
    uint32_t connection_count = 1;
    bool read_only = false;                        // always so when the device is not writable
    std::optional<uint32_t> block_size_bytes;      // of /dev/nbdN: 512 to 4096; absent: the largest that fits
    uint32_t timeout_seconds = 90;                 // longer than the slowest request of the device; 0: for ever
    uint32_t dead_connection_timeout_seconds = 5;  // netlink only
    QueueWishes queue;
    std::optional<Mechanism> mechanism;  // absent: netlink where the kernel has it
  };
  struct Stats {
    uint32_t live_connection_count = 0;
    Counts counts;
  };

  // Attaches device to a free /dev/nbdN of the pool. Shares ownership of both until destruction. Fails with
  // kInvalidArgument for options that can never work, kModuleMissing, kPermission, kBusy when no device is left,
  // kUnsupported when the wanted mechanism is not to be had, kToolMissing when the guard is not, and kCancelled. A
  // cancelled call ends as soon as the device has finished the operations that the kernel asked of it.
  static Result<std::shared_ptr<Attachment>> Attach(std::shared_ptr<Pool> pool, std::shared_ptr<Device> device,
                                                    const Options& options, const CallContext& context);
  // Connects a /dev/nbdN for a writable device that is not known yet, with a block size of 4096. It is empty until
  // Choose.
  static Result<std::shared_ptr<Attachment>> ConnectAhead(std::shared_ptr<Pool> pool, const Options& options,
                                                          const CallContext& context);
  // Whether an attachment that was connected ahead with these options can take that device with those.
  static bool Suits(const Options& ahead, const Device& device, const Options& wanted);
  // Makes it an attachment of device, with the time-outs and queue settings of options. Fails as Attach does, and is
  // then good for nothing but to be closed. REQUIRES: from ConnectAhead, and Suits
  Status Choose(std::shared_ptr<Device> device, const Options& options);
  // Closes, leaving last writes.
  ~Attachment();

  const std::string& path() const { return path_; }  // "/dev/nbd3"
  uint32_t index() const { return slot_->index; }
  Mechanism mechanism() const { return link_->mechanism(); }
  bool read_only() const { return read_only_; }
  uint32_t block_size_bytes() const { return settings_.block_size_bytes; }
  uint32_t connection_count() const { return server_->connection_count(); }
  const QueueSettings& queue() const { return queue_; }
  bool lost() const;
  Stats stats() const;

  // Has lost called, once, if the kernel ever gives up all connections without being asked to: at once when it has
  // already, else from another thread, and not after Close has returned. lost must not call the attachment.
  void WatchLost(std::function<void()> lost);

  // Makes durable what was written to /dev/nbdN itself, and fails when any write to it since the attachment began was
  // lost and that was not yet reported here. What a mounted filesystem has not written yet is not in it. Takes as long
  // as the writing, and no longer than the time-outs; cannot be cancelled.
  Status Sync();

  // Tells the kernel that the device has another size: to grow, the device is to be grown first; to shrink, this comes
  // first. Whoever has /dev/nbdN open or mounted keeps it. Fails with kInvalidArgument for a size that the device does
  // not have or that is no multiple of the block size.
  Status Resize(uint64_t size_bytes);

  // What becomes of the last writes when the attachment closes.
  enum class LastWrites { kFlush, kLeave };

  // Ends the attachment; any thread, any number of times: the first call decides, and all return when it has ended,
  // with the same outcome. With kFlush a success means that all that was written to /dev/nbdN is in the device and
  // durable. Fails with kBusy when /dev/nbdN was still in use (a mounted filesystem): the link is cut all the same, and
  // what was written there after the flush is lost. Takes as long as the slowest operation of the device that is under
  // way.
  Status Close(LastWrites last_writes = LastWrites::kFlush);

 private:
  Attachment(std::shared_ptr<Pool> pool, bool read_only) : pool_(std::move(pool)), read_only_(read_only) {}

  Status Start(const std::shared_ptr<Device>& device, const Options& options, const CallContext& context);
  Status Connect(const Options& options, const CallContext& context);
  Result<std::unique_ptr<Link>> ConnectLink(uint32_t index, Mechanism mechanism);
  Status OpenDevice();
  Status CheckIdentity() const;
  void LookForDeadConnections();
  Status CloseOnce(LastWrites last_writes);
  Status WaitUntilFree();

  // ---- constant once attached ----
  const std::shared_ptr<Pool> pool_;
  const bool read_only_;
  LinkSettings settings_;
  std::string path_;
  QueueSettings queue_;
  std::shared_ptr<LateDevice> late_device_;  // with ConnectAhead
  std::unique_ptr<PairServer> server_;
  std::optional<Pool::Slot> slot_;
  std::optional<GuardedDevice> guarded_;  // by netlink, unless the pool has no guard
  std::unique_ptr<Link> link_;

  std::atomic<bool> connected_{false};  // the kernel has its ends, and was not asked to hang up
  mutable std::mutex lost_mutex_;
  bool lost_ = false;              // protected by lost_mutex_
  std::function<void()> on_lost_;  // protected by lost_mutex_, also while it runs
  std::mutex descriptor_mutex_;
  UniqueFd descriptor_;  // of /dev/nbdN; protected by descriptor_mutex_
  std::once_flag close_once_;
  Status close_status_;  // set within close_once_
};

}  // namespace rootloom::nbd
