// Keep: runs one command so that neither it nor its run directory outlives the owner.
//
// The owner starts the keeper with one end of a pipe as descriptor 3 and holds the other end. The kernel closes that
// end however the owner goes, kill -9 included, and the keeper reads the end of file. Three parties can die:
//
//   1. The command ends: the keeper removes the run directory and ends in the same way (exit status or signal).
//   2. The owner ends, lets go of the pipe, or sends SIGTERM, SIGINT, SIGHUP or SIGQUIT: the keeper kills the command,
//      waits for it, and does the same.
//   3. The keeper is killed: the kernel kills the command (PR_SET_PDEATHSIG), and the owner, which sees its child
//      end, removes the run directory.
//
// If owner and keeper are both killed, the run directory stays until the next owner sweeps up after dead ones.
#pragma once

#include <string>
#include <vector>

#include "native/util/status.h"

namespace rootloom {

struct KeepRequest {
  std::string run_dir;               // removed at the end, if it carries the marker
  std::vector<std::string> command;  // REQUIRES: not empty; the program is looked up in PATH
  int owner_fd;                      // readable end of the owner's pipe
};

// How the command ended: exactly one of the two is set.
struct CommandEnd {
  int exit_code = 0;
  int signal = 0;
};

// Runs the command to its end and removes the run directory, also when the command could not be started. A failed
// removal is told on standard error: the command's own end is what the owner waits for. Single-threaded: the parent
// death signal is bound to the calling thread. Leaves SIGCHLD and the stop signals blocked.
Result<CommandEnd> Keep(const KeepRequest& request);

}  // namespace rootloom
