// A tree whose filesystem is worked on by a helper process: Tree for filesystems that nobody vouches for.
//
// A helper that crashes, hangs or lies is kEngineCrashed for the call that meets it and for every one after it; Close
// then writes nothing, and succeeds. What is changed is kept beside the device until Flush or Close succeed in the
// helper, and is brought into the device then: before, the device is as it was at the last Flush. Only a device that
// fails meanwhile can hold something half done.
//
// A cancelled call is answered within some 25 ms, whatever the helper does. One that the helper could not stop in that
// time may still be made, and Close then ends the helper without a Flush, and says so if the tree was writable.
#pragma once

#include <memory>

#include "native/ext4/tree.h"
#include "native/isolation/supervisor.h"

namespace rootloom::isolated {

// Fails as Ext4Tree::Open does, and as RunHelper.
Result<std::shared_ptr<Tree>> OpenTree(std::shared_ptr<Device> device, const TreeOptions& options,
                                       const IsolationOptions& isolation, const CallContext& context);

}  // namespace rootloom::isolated
