#include "native/nbd/guard/duty.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "native/nbd/kernel/patience.h"
#include "native/nbd/kernel/slot_lock.h"

namespace rootloom::nbd {

namespace {

// The machine is short of something; it may not be for long.
constexpr std::chrono::seconds kShortage(5);

}  // namespace

void Duty::Take(int socket, int signals, pid_t owner) {
  for (;;) {
    pollfd entries[] = {{.fd = socket, .events = POLLIN, .revents = 0},
                        {.fd = signals, .events = POLLIN, .revents = 0}};
    if (::poll(entries, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    signalfd_siginfo signal{};
    // Anybody may send the signal; only the kernel sends it in the owner's name.
    const bool gone = entries[1].revents != 0 && ::read(signals, &signal, sizeof signal) == sizeof signal &&
                      static_cast<pid_t>(signal.ssi_pid) == owner;
    if (!TakeMessages(socket) || gone) return;
  }
}

// Those that are there; false at the end of file.
bool Duty::TakeMessages(int socket) {
  for (;;) {
    std::string text(kMaxGuardMessageBytes, '\0');
    const ssize_t length = ::recv(socket, text.data(), text.size(), MSG_DONTWAIT);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return errno == EAGAIN;
    if (length == 0) return false;
    text.resize(static_cast<size_t>(length));
    const auto message = DecodeGuardMessage(text);
    if (!message) continue;
    std::erase(targets_, message->target);
    if (message->kind == GuardMessage::Kind::kWatch) targets_.push_back(message->target);
  }
}

void Duty::Fulfil() {
  WaitUntil(kShortage, {}, [this] {
    std::erase_if(targets_, [this](const GuardTarget& target) { return DisconnectLeft(target); });
    return targets_.empty();
  });
}

// False when it is worth another try. With the lock nobody of ours connects the device between the look and the
// deed. As long as a thread of the owner waits for the device the owner has the lock still, which does the same.
bool Duty::DisconnectLeft(const GuardTarget& target) const {
  const auto lock = SlotLock::Try(target.run_folder, target.index);
  const auto facts = ReadFacts(machine_, target.index);
  if (!facts.ok()) return facts.status().failure().kind == StatusKind::kNotFound;
  return facts->backend != target.backend || disconnect_(target.index).ok();
}

}  // namespace rootloom::nbd
