// RunOperation: what the helper does for its owner, as native/ext4 does it in this process.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "native/isolation/messages.h"

namespace rootloom {

// Takes a part of a walk; a failure ends the walk.
using EntrySink = std::function<Status(const std::vector<WalkEntry>&)>;

HelperAnswer RunOperation(const HelperRequest& request, std::shared_ptr<Device> device,
                          const ScratchFactory& make_scratch, const EntrySink& give_entries,
                          const CallContext& context);

}  // namespace rootloom
