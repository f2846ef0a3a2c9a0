// Duty: what a guard has been told to look after, and what it does about it in the end.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "native/nbd/kernel/guard_message.h"
#include "native/nbd/kernel/machine.h"
#include "native/util/status.h"

namespace rootloom::nbd {

// Not thread-safe.
class Duty {
 public:
  // Has the kernel disconnect a device.
  using Disconnect = std::function<Status(uint32_t index)>;

  Duty(Machine machine, Disconnect disconnect) : machine_(std::move(machine)), disconnect_(std::move(disconnect)) {}

  // Takes the messages of the owner until it has gone: at the end of file of socket, or when signals, a signalfd, tells
  // of kOwnerGone from the owner itself. What the owner had sent before it went is taken in any case.
  void Take(int socket, int signals, pid_t owner);

  // Disconnects every target that is still connected, and nothing else: the kernel must name the very backend. Waiting
  // requests fail at once. What cannot be disconnected is tried again for some seconds.
  void Fulfil();

  const std::vector<GuardTarget>& targets() const { return targets_; }

 private:
  bool TakeMessages(int socket);
  bool DisconnectLeft(const GuardTarget& target) const;

  const Machine machine_;
  const Disconnect disconnect_;
  std::vector<GuardTarget> targets_;
};

}  // namespace rootloom::nbd
