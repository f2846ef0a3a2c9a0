// rootloom-guard OWNER   disconnects what the process OWNER leaves attached when it goes
//
// It is started by native/nbd/kernel with a socket as descriptor 3: see guard_message.h. An owner that closes its
// attachments kills its guard; the guard of any other acts as soon as the owner has gone, and ends.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdlib>

#include "native/nbd/guard/duty.h"
#include "native/nbd/kernel/control.h"

namespace rootloom::nbd {
namespace {

constexpr int kExitUsage = 64;
constexpr int kExitFailed = 70;

// The family is asked for when it is needed: as long as nothing is wrong the guard costs next to nothing.
Status Disconnect(uint32_t index) {
  ROOTLOOM_ASSIGN_OR_RETURN(const std::shared_ptr<Control> control, Control::Open());
  return control->Disconnect(index);
}

int Main(pid_t owner) {
  // All signals: those that others send are not to keep it from its work.
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  sigset_t owner_gone;
  sigemptyset(&owner_gone);
  sigaddset(&owner_gone, kOwnerGone);
  const UniqueFd signals(::signalfd(-1, &owner_gone, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid() || ::prctl(PR_SET_PDEATHSIG, kOwnerGone) != 0) return kExitFailed;
  // Memory that it asks for must not wait for the writing of what nobody serves any more. Needs a right that who may
  // attach normally has; older kernels do not know it.
  ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  // Nor does it keep the owner's folder in use.
  if (::chdir("/") != 0) return kExitFailed;
  Duty duty({}, Disconnect);
  duty.Take(kGuardSocket, signals.get(), owner);
  duty.Fulfil();
  return duty.targets().empty() ? 0 : 1;
}

}  // namespace
}  // namespace rootloom::nbd

int main(int argc, char** argv) {
  if (argc != 2) return rootloom::nbd::kExitUsage;
  return rootloom::nbd::Main(static_cast<pid_t>(std::strtol(argv[1], nullptr, 10)));
}
