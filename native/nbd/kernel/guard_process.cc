#include "native/nbd/kernel/guard_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <future>
#include <utility>

#include "native/nbd/worker_pool.h"

namespace rootloom::nbd {

namespace {

constexpr const char* kOperation = "start the guard of attached devices";
constexpr int kFirstUnused = kGuardSocket + 1;

Status StartFailure(const std::string& program, int error_number) {
  Status status = Status::Errno(kOperation, program, error_number);
  if (error_number != ENOENT && error_number != EACCES && error_number != ENOEXEC) return status;
  status.failure().kind = StatusKind::kToolMissing;
  status.failure().detail = "it cannot be run, build it with npm run build:native";
  return status;
}

class Actions {
 public:
  Actions() { ::posix_spawn_file_actions_init(&actions_); }
  ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;

  // The error number. REQUIRES: socket is at kFirstUnused or above.
  int Fill(int socket) {
    int error = ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    for (const int output : {STDOUT_FILENO, STDERR_FILENO}) {
      if (error == 0) error = ::posix_spawn_file_actions_adddup2(&actions_, STDIN_FILENO, output);
    }
    if (error == 0) error = ::posix_spawn_file_actions_adddup2(&actions_, socket, kGuardSocket);
    if (error == 0) error = ::posix_spawn_file_actions_addclosefrom_np(&actions_, kFirstUnused);
    return error;
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// A session of its own; every signal has its default action, and is blocked: the program chooses.
class Attributes {
 public:
  Attributes() {
    ::posix_spawnattr_init(&attributes_);
    sigset_t all;
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &all);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

void Reap(pid_t pid) {
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

Result<std::unique_ptr<GuardProcess>> GuardProcess::Start(const std::string& program) {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return StartFailure(program, errno);
  std::unique_ptr<GuardProcess> process(new GuardProcess(UniqueFd(ends[0])));
  const UniqueFd theirs(ends[1]);
  const auto started = std::make_shared<std::promise<Status>>();
  ROOTLOOM_ASSIGN_OR_RETURN(process->thread_, StartThread([&program, &theirs, process = process.get(), started] {
                              const Status status = process->Spawn(program, theirs);
                              const pid_t pid = process->pid_;
                              // From here on nothing of the caller's is touched.
                              started->set_value(status);
                              if (pid > 0) Reap(pid);
                            }));
  ROOTLOOM_RETURN_IF_ERROR(started->get_future().get());
  return process;
}

Status GuardProcess::Spawn(const std::string& program, const UniqueFd& socket) {
  const UniqueFd copy(::fcntl(socket.get(), F_DUPFD_CLOEXEC, kFirstUnused));
  if (!copy.valid()) return StartFailure(program, errno);
  Actions actions;
  if (const int error = actions.Fill(copy.get()); error != 0) return StartFailure(program, error);
  std::array<std::string, 2> words = {program, std::to_string(::getpid())};
  std::array<char*, words.size() + 1> arguments = {words[0].data(), words[1].data(), nullptr};
  std::array<char*, 1> environment = {nullptr};
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, program.c_str(), actions.get(), Attributes().get(), arguments.data(), environment.data());
  if (error != 0) return StartFailure(program, error);
  pid_ = pid;
  pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return pidfd_.valid() ? Status::Ok() : StartFailure(program, errno);
}

GuardProcess::~GuardProcess() {
  // By its descriptor: it may have ended, and its id be another's by now.
  if (pidfd_.valid()) {
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  } else if (pid_ > 0) {
    ::kill(pid_, SIGKILL);  // Start failed half-way: nobody waits for it long enough for that.
  }
  if (thread_.joinable()) thread_.join();
}

bool GuardProcess::Send(const GuardMessage& message) const {
  const std::string text = EncodeGuardMessage(message);
  ssize_t sent;
  do {
    sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

}  // namespace rootloom::nbd
