// The ioctl way, for kernels and network namespaces without the netlink one: a thread of ours lives in the kernel for
// as long as the device is connected. When the process ends, so does the connection.
#pragma once

#include <memory>

#include "native/nbd/kernel/link.h"

namespace rootloom::nbd {

// Connects; fails as LinkFailure says, and with kNotFound when /dev/nbdN is missing. There is no time-out for dead
// connections: what waits for one fails at once.
Result<std::unique_ptr<Link>> ConnectByIoctl(const LinkRequest& request);

}  // namespace rootloom::nbd
