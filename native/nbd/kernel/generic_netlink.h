// GenericNetlink: a socket to the kernel's generic netlink families.
//
// The kernel carries a request out while it is being sent, so an exchange takes as long as the request, and its answer
// is there afterwards. Not thread-safe; one socket a thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "native/nbd/kernel/netlink_message.h"
#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

class GenericNetlink {
 public:
  struct Family {
    uint16_t id = 0;
    std::map<std::string, uint32_t> groups;  // multicast groups by name
  };

  static Result<GenericNetlink> Open();

  // kNotFound when the kernel, or this network namespace, has no such family.
  Result<Family> FindFamily(const std::string& name);

  // Sends the request, which must ask for an acknowledgement, and returns the attributes of the one message that came
  // before that; empty when there was none. A refusal is a failure with the kernel's errno; operation and path are for
  // its text.
  Result<std::vector<std::byte>> Exchange(NetlinkRequest& request, const std::string& operation,
                                          const std::string& path);

  // Receives the messages of a multicast group from here on.
  Status Join(uint32_t group);
  // The next datagram, waiting for it only as the flags of recv say. ENOBUFS: some were lost.
  Result<std::vector<std::byte>> Receive(int flags);

  int fd() const { return socket_.get(); }

 private:
  explicit GenericNetlink(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
  uint32_t sequence_ = 0;
};

}  // namespace rootloom::nbd
