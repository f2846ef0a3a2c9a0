// WakeEvent: lets other threads wake one that waits in poll.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

class WakeEvent {
 public:
  static Result<WakeEvent> Create() {
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd.valid()) return Status::Errno("create an eventfd", "", errno);
    return WakeEvent(std::move(fd));
  }

  // Becomes readable, and stays so until Clear.
  int fd() const { return fd_.get(); }
  void Wake() const {
    const uint64_t one = 1;
    // It fails only when the counter is full, and then the event is readable anyway.
    [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof one);
  }
  void Clear() const {
    uint64_t count;
    [[maybe_unused]] const ssize_t taken = ::read(fd_.get(), &count, sizeof count);
  }

 private:
  explicit WakeEvent(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace rootloom::nbd
