#include "native/isolation/helper_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "native/isolation/helper_setup.h"

namespace rootloom {

namespace {

constexpr const char* kOperation = "start";
// A sanitizer's report is longer than what the C library says before it aborts.
constexpr size_t kMaxLogBytes = 64 << 10;
constexpr size_t kLogBytes = 600;

class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  // target is below every descriptor that is given: see Copy.
  void Give(const UniqueFd& fd, int target) {
    if (error_ == 0) error_ = ::posix_spawn_file_actions_adddup2(&actions_, fd.get(), target);
  }
  void CloseFrom(int first) {
    if (error_ == 0) error_ = ::posix_spawn_file_actions_addclosefrom_np(&actions_, first);
  }
  int error() const { return error_; }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
  int error_ = 0;
};

// No signal blocked or ignored, whatever this process does with them, and a process group of its own: Ctrl-C is for the
// owner.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    sigset_t all;
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

// Another descriptor for the same thing, above those that the helper is given.
UniqueFd Copy(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kHelperFdCount)); }

}  // namespace

std::string TextOf(const HelperEnd& end) {
  if (end.signal == SIGSYS) return "its helper asked the kernel for what it may not, and was ended";
  if (end.signal == SIGXCPU) return "its helper used up its processor time, and was ended";
  if (end.signal)
    return "its helper was ended by signal " + std::to_string(*end.signal) + " (" + ::strsignal(*end.signal) + ")";
  if (end.exit_code) return "its helper ended with status " + std::to_string(*end.exit_code) + " and no answer";
  return "its helper ended without an answer";
}

Result<HelperProcess> HelperProcess::Start(const std::string& path, const HelperLimits& limits, const UniqueFd& control,
                                           const UniqueFd& disk) {
  UniqueFd log(::memfd_create("rootloom helper log", MFD_CLOEXEC));
  if (!log.valid()) return Status::Errno(kOperation, path, errno);
  const std::array<UniqueFd, 3> copies = {Copy(log), Copy(control), Copy(disk)};
  for (const UniqueFd& copy : copies) {
    if (!copy.valid()) return Status::Errno(kOperation, path, errno);
  }
  SpawnActions actions;
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) actions.Give(copies[0], standard);
  actions.Give(copies[1], kControlFd);
  actions.Give(copies[2], kDiskFd);
  actions.CloseFrom(kHelperFdCount);
  if (actions.error() != 0) return Status::Errno(kOperation, path, actions.error());

  std::array<std::string, 1 + kHelperArgumentCount> words = {
      path, std::to_string(::getpid()), std::to_string(limits.memory_bytes), std::to_string(limits.cpu_seconds),
      std::to_string(kMaxLogBytes)};
  std::array<char*, words.size() + 1> arguments = {};
  for (size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
  std::array<char*, 1> environment = {nullptr};
  pid_t pid = -1;
  const SpawnAttributes attributes;
  const int error =
      ::posix_spawn(&pid, path.c_str(), actions.get(), attributes.get(), arguments.data(), environment.data());
  if (error != 0) return Status::Errno(kOperation, path, error);
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int open_error = errno;
  HelperProcess process(pid, std::move(pidfd), std::move(log));
  if (!process.pidfd_.valid()) return Status::Errno(kOperation, path, open_error);
  return process;
}

HelperProcess::HelperProcess(HelperProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)), log_(std::move(other.log_)) {}

HelperProcess::~HelperProcess() {
  if (pid_ > 0) End();
}

HelperEnd HelperProcess::End() {
  const pid_t pid = std::exchange(pid_, -1);
  // By its descriptor: should somebody else have reaped it, its id may be another's by now.
  if (pidfd_.valid()) {
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  } else {
    ::kill(pid, SIGKILL);
  }
  int status = 0;
  pid_t reaped;
  do {
    reaped = ::waitpid(pid, &status, 0);
  } while (reaped < 0 && errno == EINTR);
  HelperEnd end;
  if (reaped != pid) return end;
  if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  return end;
}

std::chrono::nanoseconds HelperProcess::CpuTime() const {
  clockid_t clock;
  timespec used{};
  if (::clock_getcpuclockid(pid_, &clock) == 0) ::clock_gettime(clock, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

std::string HelperProcess::Log() const {
  std::string text(kLogBytes, '\0');
  const ssize_t count = ::pread(log_.get(), text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  for (char& character : text) {
    if (character < 0x20 || character > 0x7e) character = ' ';
  }
  return text;
}

}  // namespace rootloom
