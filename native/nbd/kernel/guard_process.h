// GuardProcess: one run of the guard's program, from its start to its being reaped.
//
// A thread of its own starts it and waits for it. So it is reaped at once however it ends; and when this process is
// killed, that thread ends at once, whatever the others wait for, and the kernel tells the guard. The guard gets an
// empty environment, no descriptor but its socket, and a session of its own: Ctrl-C is for its owner.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "native/nbd/kernel/guard_message.h"
#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

class GuardProcess {
 public:
  // Returns when the program runs. kToolMissing when it cannot be run.
  static Result<std::unique_ptr<GuardProcess>> Start(const std::string& program);
  GuardProcess(const GuardProcess&) = delete;
  GuardProcess& operator=(const GuardProcess&) = delete;
  // Kills and reaps it: it is gone without having done anything.
  ~GuardProcess();

  // False when it has ended, or takes no messages any more.
  bool Send(const GuardMessage& message) const;

 private:
  explicit GuardProcess(UniqueFd socket) : socket_(std::move(socket)) {}

  Status Spawn(const std::string& program, const UniqueFd& socket);

  const UniqueFd socket_;
  // ---- set by the thread before Start returns ----
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  std::thread thread_;
};

}  // namespace rootloom::nbd
