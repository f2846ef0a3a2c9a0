// Pool: hands out the kernel's NBD devices, each to one owner at a time.
//
// Whoever wants a device locks its file in the run folder (see slot_lock.h), looks whether it is free, and connects.
// The kernel has the last word: a program that knows nothing of the locks may have been quicker, and then the next
// device is tried. A record of what the device is connected for is written before it is connected, so that what a
// killed process leaves can be recognised at any moment.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "native/nbd/kernel/control.h"
#include "native/nbd/kernel/link.h"
#include "native/nbd/kernel/link_watch.h"
#include "native/nbd/kernel/machine.h"
#include "native/nbd/kernel/slot_lock.h"
#include "native/util/call_context.h"

namespace rootloom::nbd {

// What a device is used for, as far as can be told.
enum class DeviceUse : uint8_t {
  kFree,     // nothing is connected, and nobody has it locked
  kOurs,     // locked by a living owner of this run folder
  kLeft,     // connected by an owner of this run folder that is gone: reclaimable
  kForeign,  // connected by somebody else, or not provably ours
};

struct DeviceReport {
  DeviceFacts facts;
  DeviceUse use = DeviceUse::kFree;
  std::optional<SlotRecord> record;  // with kOurs and kLeft
};

class Pool {
 public:
  struct Options {
    std::string run_folder;     // empty: DefaultRunFolder
    std::string guard_program;  // empty: nobody disconnects what is attached by netlink when this process is killed
    Machine machine;
  };

  // Makes the run folder. Does not touch the kernel: what is missing there is found out when a device is wanted.
  static Result<std::shared_ptr<Pool>> Open(const Options& options);

  // A device that is locked, and was free when it was looked at.
  struct Slot {
    uint32_t index;
    SlotLock lock;
  };
  // Tries the free devices one after another: attempt gets a locked one and the backend name that is on record for it.
  // It is called until it succeeds or fails with something else than kBusy; after all others a device that was busy
  // though nothing was connected is tried again for half a second. Fails with kBusy when no device is left,
  // kModuleMissing when the kernel has no driver, and as attempt does.
  //
  // On success the slot is the caller's: the device is released by letting go of the slot, once it is not connected.
  using Attempt = std::function<Status(uint32_t index, const std::string& backend)>;
  Result<Slot> Acquire(const CallContext& context, const Attempt& attempt);

  // All devices that the kernel has. Changes nothing.
  Result<std::vector<DeviceReport>> Report() const;
  // Disconnects what killed processes left, and returns the indices of what is free now. Only a device whose lock is
  // free, whose record was written since this boot, and whose backend name in the kernel is the one on record: all else
  // is not ours to touch. What waits for a device that was disconnected fails at once; one that is still mounted stays
  // kLeft until it is unmounted. Fails, once all were tried, with the first that could not be disconnected: kPermission
  // without the right to do so.
  Result<std::vector<uint32_t>> Reclaim(const CallContext& context);

  // The kernel's netlink family; kNotFound when there is none here.
  Result<std::shared_ptr<Control>> control();
  // REQUIRES: control() succeeded
  Result<LinkWatch*> watch();

  const Machine& machine() const { return machine_; }
  const std::string& run_folder() const { return run_folder_; }
  const std::string& guard_program() const { return guard_program_; }

 private:
  Pool(const Options& options, std::string run_folder)
      : machine_(options.machine), guard_program_(options.guard_program), run_folder_(std::move(run_folder)) {}

  // What was found on the way through all devices.
  struct Round {
    size_t locked_count = 0;
    bool looked_at = false;  // one was busy although nothing was connected
  };
  Result<std::optional<Slot>> TryEach(const std::vector<uint32_t>& indices, const Attempt& attempt,
                                      const CallContext& context, Round& round);
  Result<DeviceReport> ReportOf(uint32_t index, const std::string& boot_id) const;
  Status WriteRecord(const SlotLock& lock, const std::string& backend) const;
  // Whether the device is free now.
  Result<bool> TryReclaim(uint32_t index, const std::string& boot_id, const CallContext& context);

  const Machine machine_;
  const std::string guard_program_;
  const std::string run_folder_;
  std::mutex mutex_;
  // ---- protected by mutex_; set once ----
  std::shared_ptr<Control> control_;
  std::unique_ptr<LinkWatch> watch_;
};

}  // namespace rootloom::nbd
