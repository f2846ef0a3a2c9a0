// Guard: what is left attached when this process is killed is disconnected all the same, by a process of ours that
// lives on for a moment.
//
// It is needed for netlink, where the kernel holds the connection by itself: requests that the killed server had taken
// would wait for their time-out, and whoever sent them with them. A connection by ioctl ends with its process.
//
// One guard serves all threads and environments of a process. It is started for the first device, and gone with the
// last, or with the process: see guard_message.h for how it learns of the end, and native/nbd/guard for what it does.
// When somebody killed the guard the next device has another one started, that looks after all of them.
#pragma once

#include <string>

#include "native/nbd/kernel/guard_message.h"
#include "native/util/status.h"

namespace rootloom::nbd {

// One device under guard, until this is destroyed. Any thread.
class GuardedDevice {
 public:
  // From now on the guard looks after target, which need not be connected yet. program is the guard's: kToolMissing
  // when it cannot be run.
  static Result<GuardedDevice> Watch(const std::string& program, const GuardTarget& target);
  GuardedDevice(GuardedDevice&& other) noexcept;
  GuardedDevice& operator=(GuardedDevice&& other) noexcept;
  // The last one ends the guard, and returns when it has been reaped.
  ~GuardedDevice();

 private:
  class Guard;

  GuardedDevice(Guard* guard, GuardTarget target) : guard_(guard), target_(std::move(target)) {}

  Guard* guard_;  // null once moved from
  GuardTarget target_;
};

}  // namespace rootloom::nbd
