#include "native/isolation/helper/sandbox.h"

#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#ifdef ROOTLOOM_SANITIZE
// What leaks is freed by the end of the process, and a report's symbols would be looked up by another program.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0:symbolize=0:allocator_may_return_null=1"; }
#endif

namespace rootloom {

namespace {

#ifdef ROOTLOOM_SANITIZE
// The sanitizer reserves terabytes, and asks the kernel this and that while it writes a report. Its questions are
// refused, not punished, so that the report is seen.
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr const char* kOperation = "confine the helper";
constexpr uid_t kNobody = 65534;

Status Errno(const char* what) { return Status::Errno(kOperation, what, errno); }

Status Limit(int resource, uint64_t value, const char* name) {
  const rlimit limit{value, value};
  // __rlimit_resource_t is an enumeration in C++ alone.
  return ::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0 ? Status::Ok() : Errno(name);
}

Status LimitResources(const SandboxLimits& limits) {
  const uint64_t cpu_seconds = limits.cpu_seconds == 0 ? RLIM_INFINITY : limits.cpu_seconds;
  ROOTLOOM_RETURN_IF_ERROR(Limit(RLIMIT_CORE, 0, "RLIMIT_CORE"));
  ROOTLOOM_RETURN_IF_ERROR(Limit(RLIMIT_NPROC, 0, "RLIMIT_NPROC"));
  ROOTLOOM_RETURN_IF_ERROR(Limit(RLIMIT_CPU, cpu_seconds, "RLIMIT_CPU"));
  ROOTLOOM_RETURN_IF_ERROR(Limit(RLIMIT_FSIZE, limits.log_bytes, "RLIMIT_FSIZE"));
  return kSanitized ? Status::Ok() : Limit(RLIMIT_AS, limits.memory_bytes, "RLIMIT_AS");
}

struct Capabilities {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
};

// Becomes nobody, where that is possible: it takes a user who may do so, a user namespace that has nobody, and an owner
// who can still kill this process afterwards. Whatever user it is, it has no capability in the end.
Status DropPrivileges() {
  Capabilities held;
  if (::syscall(SYS_capget, &held.header, held.data) != 0) return Errno("capabilities");
  const auto has = [&held](unsigned capability) { return (held.data[0].effective & (1U << capability)) != 0; };
  if (has(CAP_SETUID) && has(CAP_SETGID) && has(CAP_KILL)) {
    // EINVAL and EPERM are a namespace's answers that does not have them.
    const auto refused = [](int result) { return result != 0 && errno != EINVAL && errno != EPERM; };
    if (refused(::setgroups(0, nullptr))) return Errno("setgroups");
    if (refused(::setresgid(kNobody, kNobody, kNobody))) return Errno("setresgid");
    if (refused(::setresuid(kNobody, kNobody, kNobody))) return Errno("setresuid");
  }
  Capabilities none;
  return ::syscall(SYS_capset, &none.header, none.data) == 0 ? Status::Ok() : Errno("capabilities");
}

// Bound to the owner's thread, and lost with a change of user: so after that.
Status EndWithOwner(int owner_pid) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return Errno("PR_SET_PDEATHSIG");
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return Errno("PR_SET_DUMPABLE");
  return ::getppid() == owner_pid ? Status::Ok() : Status::Errno(kOperation, "", EOWNERDEAD);
}

class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_KILL_PROCESS)) {}
  ~Filter() { ::seccomp_release(context_); }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  void Allow(int call) { Add(SCMP_ACT_ALLOW, call, 0, {}); }
  void AllowWhen(int call, scmp_arg_cmp condition) { Add(SCMP_ACT_ALLOW, call, 1, condition); }
  void Refuse(int call) { Add(SCMP_ACT_ERRNO(EPERM), call, 0, {}); }

  Status Install() {
    if (context_ == nullptr) return Status::Errno(kOperation, "seccomp", ENOMEM);
    // NO_NEW_PRIVS is set by it, too.
    const int loaded = error_ != 0 ? error_ : ::seccomp_load(context_);
    if (loaded == 0) return Status::Ok();
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = kOperation,
                   .detail = "this kernel refuses seccomp filters",
                   .error_number = -loaded};
  }

 private:
  void Add(uint32_t action, int call, unsigned condition_count, scmp_arg_cmp condition) {
    if (context_ == nullptr || error_ != 0) return;
    error_ = ::seccomp_rule_add_array(context_, action, call, condition_count, &condition);
  }

  scmp_filter_ctx context_;
  int error_ = 0;
};

Status FilterSystemCalls() {
  Filter filter;
  for (const int call :
       {// Descriptors that it has or is given.
        SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
        SCMP_SYS(sendmsg), SCMP_SYS(close),
        // Memory; what is mapped must be data.
        SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(getrandom),
        // The time, and how much of it was used.
        SCMP_SYS(getrusage), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
        // The end, and what abort() does before it.
        SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid),
        SCMP_SYS(gettid), SCMP_SYS(sched_yield),
        // How much memory there is: e2fsck plans its reading ahead by it.
        SCMP_SYS(sysinfo),
        // libext2fs asks whether it may trust the environment, which is empty.
        SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid)}) {
    filter.Allow(call);
  }
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    filter.AllowWhen(call, {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0});
  }
  filter.AllowWhen(SCMP_SYS(prctl), {0, SCMP_CMP_EQ, PR_GET_DUMPABLE, 0});
  filter.AllowWhen(SCMP_SYS(tgkill), {0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()), 0});
  if (kSanitized) {
    for (const int call :
         {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(stat), SCMP_SYS(fstat),
          SCMP_SYS(newfstatat), SCMP_SYS(ioctl), SCMP_SYS(getrlimit), SCMP_SYS(setrlimit), SCMP_SYS(prlimit64),
          SCMP_SYS(rt_sigaction), SCMP_SYS(lseek), SCMP_SYS(uname), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep)}) {
      filter.Refuse(call);
    }
    // It sends bytes through a pipe of its own to learn whether they are there, and asks for the stack of signals when
    // e2fsck is left by a jump.
    for (const int call : {SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(sigaltstack)}) filter.Allow(call);
  }
  return filter.Install();
}

}  // namespace

Status Confine(const SandboxLimits& limits, int owner_pid) {
  // Limits come first: setrlimit is not allowed any more under the filter. A user who may have more processes than the
  // limit keeps them: it only forbids new ones.
  ROOTLOOM_RETURN_IF_ERROR(LimitResources(limits));
  ROOTLOOM_RETURN_IF_ERROR(DropPrivileges());
  ROOTLOOM_RETURN_IF_ERROR(EndWithOwner(owner_pid));
  return FilterSystemCalls();
}

}  // namespace rootloom
