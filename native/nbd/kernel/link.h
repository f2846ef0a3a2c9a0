// Link: the kernel's side of an attachment. What binds sockets to a /dev/nbdN, and lets go of them again.
//
// There are two ways to tell the kernel, and one class each (netlink_link.h, ioctl_link.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "native/nbd/kernel/machine.h"
#include "native/util/status.h"

namespace rootloom::nbd {

enum class Mechanism : uint8_t { kNetlink, kIoctl };

// "netlink" or "ioctl".
const char* MechanismName(Mechanism mechanism);

// What the kernel is told of a device.
struct LinkSettings {
  uint64_t size_bytes = 0;
  uint32_t block_size_bytes = 4096;              // the device's logical block: 512 to 4096
  uint16_t flags = 0;                            // transmission flags
  uint32_t timeout_seconds = 0;                  // of one request; 0: it may take for ever
  uint32_t dead_connection_timeout_seconds = 0;  // how long requests wait once every connection is gone
  std::string backend;                           // names this attachment among all that ever were
};

// A change of a link; the kernel keeps what is not mentioned.
struct LinkChange {
  std::optional<uint64_t> size_bytes;
  std::optional<uint32_t> timeout_seconds;
  std::optional<uint32_t> dead_connection_timeout_seconds;
  // True: have the kernel disconnect by itself when the last user has closed the device, as the end of this process
  // does. REQUIRES: the caller has the device open; else any program that opens and closes it would end the link.
  bool disconnect_on_last_close = false;
};

struct LinkRequest {
  Machine machine;
  uint32_t index = 0;
  std::span<const int> sockets;  // the kernel's ends; the kernel has them to itself afterwards, and ours may be closed
  LinkSettings settings;
  // Called when a connection may have died without a Disconnect: from another thread, any number of times, never after
  // Disconnect has returned. It must not call the link.
  std::function<void()> on_dead_connection;
};

class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  // Disconnects.
  virtual ~Link() = default;

  virtual Mechanism mechanism() const = 0;
  // I/O goes on meanwhile, and must be answered, for the kernel may wait for it.
  virtual Status Change(const LinkChange& change) = 0;
  // Makes the kernel let go of the sockets. I/O under way fails; so does what the page cache has not written. Any
  // thread, any number of times. When it returns the device has no connection any more, but it is free only once its
  // last user has closed it.
  virtual void Disconnect() = 0;
  // Whether anything, here or in another process, still uses the device. REQUIRES: Disconnect was called, and the
  // caller has closed the device.
  virtual bool InUse() = 0;
};

// The failure of a system call on the way to a connection, with what to do about it: kBusy when somebody else uses the
// device, kPermission when this process may not.
Status LinkFailure(const std::string& path, int error_number);

}  // namespace rootloom::nbd
