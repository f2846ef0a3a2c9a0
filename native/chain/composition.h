// Composition: the header of a disk whose content is that of a chain, laid out anew.
//
// What a rebuilt disk is sealed on: file data stays in the diffs that hold it, and only the header says that it is
// somewhere else on the disk now.
#pragma once

#include <vector>

#include "native/block/device.h"
#include "native/block/remap_device.h"
#include "native/chain/header.h"
#include "native/util/status.h"

namespace rootloom {

struct Composition {
  // Of target: same build, generation and base as parent's, so that a seal with this for its parent gives a child of
  // parent's build. Normalised.
  Header header;
  // What of target header shows, by runs of whole pages, ascending.
  std::vector<RemapRun> shared;
  // Whole pages of target, ascending, that header has as zeros but that hold something: content of which no diff holds
  // a whole page in that form. Whoever seals on header has to write these pages into the overlay first.
  std::vector<Range> unshared;
};

// target is laid out, over the chain that parent describes or over a frozen overlay of 4096-byte blocks on that chain.
// Fails with kInvalidArgument otherwise, or when the result breaks a limit of the format.
Result<Composition> ComposeHeader(const Header& parent, const RemapDevice& target);

}  // namespace rootloom
