// The run directory of one VM: sockets, memory file, and a marker that says whose it is.
#pragma once

#include <string>

#include "native/util/status.h"

namespace rootloom {

// The file that makes a folder a run directory. lib/vm/run-dir.ts makes it.
inline constexpr char kRunDirMarker[] = "rootloom-run-dir";

// Succeeds when path is a folder (not a link to one) that carries the marker as a regular file.
Status CheckRunDir(const std::string& path);

// Removes the folder with all it holds; links in it are removed, not followed. The marker goes last, so that a removal
// that was cut short can be done again. Fails, having removed nothing, when CheckRunDir fails; a folder that is
// gone already is a success.
Status RemoveRunDir(const std::string& path);

}  // namespace rootloom
