// Control: the kernel's netlink family for NBD devices.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "native/nbd/kernel/generic_netlink.h"
#include "native/nbd/kernel/link.h"
#include "native/util/status.h"

namespace rootloom::nbd {

// Thread-safe: calls take turns, as they do in the kernel.
class Control {
 public:
  // kNotFound when the kernel, or this network namespace, has no such family: it is registered by the driver, and in
  // the initial network namespace only.
  static Result<std::shared_ptr<Control>> Open();

  // Connects the device; fails as LinkFailure says.
  Status Connect(uint32_t index, std::span<const int> sockets, const LinkSettings& settings);
  // Succeeds also when nothing is connected.
  Status Disconnect(uint32_t index);

  // Changes a connected device. The kernel refuses when the device was connected under another backend name.
  Status Reconfigure(uint32_t index, const LinkChange& change, const std::string& backend);

  // Whether anything uses the device: a connection, or a program that has it open.
  Result<bool> InUse(uint32_t index);

  // A socket of its own that receives the kernel's word of dead connections.
  Result<GenericNetlink> OpenEvents() const;
  // The device that such a datagram speaks of; nullopt when it speaks of something else.
  std::optional<uint32_t> DeadDevice(std::span<const std::byte> datagram) const;

 private:
  Control(GenericNetlink socket, GenericNetlink::Family family)
      : family_(std::move(family)), socket_(std::move(socket)) {}

  Result<std::vector<std::byte>> Exchange(NetlinkRequest& request, const char* operation, uint32_t index);

  const GenericNetlink::Family family_;
  std::mutex mutex_;
  GenericNetlink socket_;  // protected by mutex_
};

}  // namespace rootloom::nbd
