// POSIX ACLs that an archive carries as text, in the form of Linux' system.posix_acl_* attributes.
#pragma once

#include <archive_entry.h>

#include <vector>

#include "native/ext4/tree_types.h"
#include "native/util/status.h"

namespace rootloom {

// Adds the ACLs of entry to attributes, unless they are there already. Fails with kUnsupported for an entry that names
// a user or group without its number: the names of the image are not those of the archive's maker.
Status AppendAcls(archive_entry* entry, std::vector<Xattr>& attributes);

}  // namespace rootloom
