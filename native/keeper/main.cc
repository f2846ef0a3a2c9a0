// rootloom-keeper --run-dir DIR -- COMMAND...   runs COMMAND until it ends or the owner on descriptor 3 does
// rootloom-keeper --tsc-khz                     prints the rate of this host's time stamp counter
//
// Ends as COMMAND ended: with its exit status, or by the same signal. Its own failures: 64 wrong usage, 70 the
// machinery failed, 127 COMMAND could not be started; the reason goes to standard error.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "native/keeper/keeper.h"
#include "native/keeper/run_dir.h"
#include "native/keeper/tsc.h"

namespace {

constexpr int kOwnerFd = 3;
constexpr int kExitUsage = 64;
constexpr int kExitFailed = 70;
constexpr int kExitNotStarted = 127;

int Fail(const rootloom::Status& status, int exit_code) {
  std::fprintf(stderr, "rootloom-keeper: %s\n", status.failure().Message().c_str());
  return exit_code;
}

int PrintTscKhz() {
  rootloom::Result<uint64_t> khz = rootloom::MeasureTscKhz();
  if (!khz.ok()) return Fail(khz.status(), kExitFailed);
  std::printf("%" PRIu64 "\n", *khz);
  return 0;
}

// Ends by the signal that ended the command, without a core file of the keeper's own.
[[noreturn]] void EndBySignal(int number) {
  ::prctl(PR_SET_DUMPABLE, 0);
  ::signal(number, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  ::raise(number);
  ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
  ::_exit(128 + number);  // Reached only for a signal that does not end a process.
}

int RunKeeper(rootloom::KeepRequest request) {
  rootloom::Status usable = rootloom::CheckRunDir(request.run_dir);
  if (!usable.ok()) return Fail(usable, kExitUsage);
  if (::fcntl(request.owner_fd, F_SETFD, FD_CLOEXEC) != 0) {
    return Fail(rootloom::Status::Errno("use", "descriptor 3", errno), kExitUsage);
  }
  rootloom::Result<rootloom::CommandEnd> end = rootloom::Keep(request);
  if (!end.ok()) return Fail(end.status(), kExitNotStarted);
  if (end->signal != 0) EndBySignal(end->signal);
  return end->exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "--tsc-khz") return PrintTscKhz();
  if (arguments.size() >= 4 && arguments[0] == "--run-dir" && arguments[2] == "--") {
    return RunKeeper({arguments[1], {arguments.begin() + 3, arguments.end()}, kOwnerFd});
  }
  std::fputs("usage: rootloom-keeper --run-dir DIR -- COMMAND... | rootloom-keeper --tsc-khz\n", stderr);
  return kExitUsage;
}
