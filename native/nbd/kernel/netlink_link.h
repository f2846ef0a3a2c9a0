// The netlink way: the kernel holds the connection by itself, and says when it dies.
#pragma once

#include <memory>

#include "native/nbd/kernel/control.h"
#include "native/nbd/kernel/link.h"
#include "native/nbd/kernel/link_watch.h"

namespace rootloom::nbd {

// Connects; fails as LinkFailure says. Keeps its share of control; watch must outlive the link.
Result<std::unique_ptr<Link>> ConnectByNetlink(const LinkRequest& request, std::shared_ptr<Control> control,
                                               LinkWatch& watch);

}  // namespace rootloom::nbd
