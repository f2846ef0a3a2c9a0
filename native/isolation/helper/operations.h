// RunOperation: what the helper does once for its owner, as native/ext4 does it in this process.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "native/isolation/messages.h"

namespace rootloom {

struct HelperTask {
  HelperRequest request;
  std::shared_ptr<Device> device;
  std::shared_ptr<Device> target;  // null unless the request has one
  ScratchFactory make_scratch;
  // Takes a part of what is found for the owner; a failure ends the operation.
  std::function<Status(std::span<const ContentRun>)> give_runs;
};

// Everything but a tree.
HelperAnswer RunOperation(const HelperTask& task, const CallContext& context);

}  // namespace rootloom
