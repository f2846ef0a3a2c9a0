#include "native/keeper/keeper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "native/keeper/run_dir.h"
#include "native/util/unique_fd.h"

namespace rootloom {

namespace {

sigset_t WatchedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&set, number);
  return set;
}

// The child's side: never returns. Only async-signal-safe calls between fork and exec.
[[noreturn]] void BecomeCommand(char* const* argv, pid_t keeper_pid, const sigset_t& original_mask, int error_fd) {
  int error_number = 0;
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) error_number = errno;
  // The keeper may have died before the line above: then nobody will ever send that signal.
  if (::getppid() != keeper_pid) ::_exit(1);
  if (error_number == 0) {
    ::sigprocmask(SIG_SETMASK, &original_mask, nullptr);
    // What the owner's other libraries let slip through is not for the command to hold open. Before Linux 5.11 it is.
    ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    ::execvp(argv[0], argv);
    error_number = errno;
  }
  // A pipe takes these few bytes whole; if even that fails, the keeper sees an ordinary early exit.
  if (::write(error_fd, &error_number, sizeof(error_number)) < 0) ::_exit(126);
  ::_exit(127);
}

// Starts the command; succeeds once exec has succeeded.
Result<pid_t> StartCommand(const std::vector<std::string>& command, const sigset_t& original_mask) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Status::Errno("start", command[0], errno);
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t keeper_pid = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return Status::Errno("start", command[0], errno);
  if (pid == 0) BecomeCommand(argv.data(), keeper_pid, original_mask, write_end.get());
  write_end.Reset();
  int error_number = 0;
  ssize_t count;
  do {
    count = ::read(read_end.get(), &error_number, sizeof(error_number));
  } while (count < 0 && errno == EINTR);
  if (count == 0) return pid;  // exec closed the other end.
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return Status::Errno("start", command[0], count < 0 ? errno : error_number);
}

enum class Event { kCommandEnded, kStop };

// Blocks until the command has changed state or somebody wants the end. The owner never writes to the pipe, so
// anything readable on it is its end of file or its error.
Result<Event> WaitForEvent(int signal_fd, int owner_fd) {
  for (;;) {
    std::array<pollfd, 2> watched = {{{signal_fd, POLLIN, 0}, {owner_fd, POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return Status::Errno("watch", "owner", errno);
    }
    if (watched[0].revents != 0) {
      signalfd_siginfo info;
      if (::read(signal_fd, &info, sizeof(info)) != sizeof(info)) continue;
      return info.ssi_signo == SIGCHLD ? Event::kCommandEnded : Event::kStop;
    }
    if (watched[1].revents != 0) return Event::kStop;
  }
}

// True with *end filled in once the command is gone and reaped; block says whether to wait for that.
bool Reap(pid_t pid, bool block, CommandEnd* end) {
  int status = 0;
  pid_t reaped;
  do {
    reaped = ::waitpid(pid, &status, block ? 0 : WNOHANG);
  } while (reaped < 0 && errno == EINTR);
  if (reaped != pid) return false;
  if (WIFSIGNALED(status)) {
    end->signal = WTERMSIG(status);
  } else {
    end->exit_code = WEXITSTATUS(status);
  }
  return true;
}

Result<CommandEnd> RunCommand(const KeepRequest& request) {
  const sigset_t watched = WatchedSignals();
  sigset_t original_mask;
  if (::sigprocmask(SIG_BLOCK, &watched, &original_mask) != 0) return Status::Errno("block", "signals", errno);
  UniqueFd signal_fd(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signal_fd.valid()) return Status::Errno("watch", "signals", errno);
  ROOTLOOM_ASSIGN_OR_RETURN(const pid_t pid, StartCommand(request.command, original_mask));
  CommandEnd end;
  for (;;) {
    Result<Event> event = WaitForEvent(signal_fd.get(), request.owner_fd);
    if (event.ok() && *event == Event::kCommandEnded) {
      if (Reap(pid, /*block=*/false, &end)) return end;
      continue;
    }
    ::kill(pid, SIGKILL);
    Reap(pid, /*block=*/true, &end);
    if (!event.ok()) return event.status();
    return end;
  }
}

}  // namespace

Result<CommandEnd> Keep(const KeepRequest& request) {
  Result<CommandEnd> end = RunCommand(request);
  Status removed = RemoveRunDir(request.run_dir);
  if (!removed.ok()) std::fprintf(stderr, "rootloom-keeper: %s\n", removed.failure().Message().c_str());
  return end;
}

}  // namespace rootloom
