// HelperLink: the owner's end of the control socket. Puts frames together, and waits for them with an eye on the stop
// token and on whether the helper still lives.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <stop_token>
#include <string>

#include "native/isolation/frame.h"
#include "native/nbd/wake_event.h"
#include "native/util/unique_fd.h"

namespace rootloom {

// Not thread-safe.
class HelperLink {
 public:
  using Clock = std::chrono::steady_clock;

  struct Names {
    // Of failures: what is done, and to which device.
    std::string operation;
    std::string path;
    // See IsolationOptions.
    std::chrono::milliseconds stall_timeout{};
  };
  // What else a helper does that says nothing: it uses its disks, or the processor.
  struct SignsOfLife {
    std::function<uint64_t()> activity;  // counts what has ended
    std::function<bool()> busy;
    std::function<std::chrono::nanoseconds()> cpu_time;  // used so far
  };

  // Gives peer the helper's end.
  static Result<HelperLink> Open(Names names, UniqueFd& peer);

  // Waits for the next frame. Fails with kCancelled once stop is triggered, and with kEngineCrashed when the helper
  // hangs up, gives no sign of life, or sends what is no frame; and with kBusy when it has sent nothing by the
  // deadline. To compute is a sign of life for a time-out's worth of the processor's time, which may be long in coming
  // on a busy machine.
  Result<Frame> Receive(const SignsOfLife& life, const std::stop_token& stop,
                        Clock::time_point deadline = Clock::time_point::max());

  // Sends a frame to a helper that waits for one: its end of the socket has room. Fails with kEngineCrashed when it
  // hung up.
  Status Send(HelperMessage kind, std::span<const std::byte> payload, int passed_fd = -1);
  // The same, for a long frame and a helper that need not read it. Fails as Receive does.
  Status Send(HelperMessage kind, std::span<const std::byte> payload, const SignsOfLife& life,
              const std::stop_token& stop);

  // Whether the other end was found closed: how the helper ended says more than that then.
  bool hung_up() const { return hung_up_; }
  Failure Crashed(std::string detail) const;
  Failure Nonsense(const std::string& what) const;

 private:
  HelperLink(Names names, UniqueFd socket, nbd::WakeEvent wake)
      : names_(std::move(names)), socket_(std::move(socket)), wake_(std::move(wake)) {}
  Failure HungUp();
  // Waits until the socket is ready for events, as poll(2) names them.
  Status WaitFor(short events, const SignsOfLife& life, const std::stop_token& stop, Clock::time_point deadline);

  Names names_;
  UniqueFd socket_;
  nbd::WakeEvent wake_;
  FrameReader reader_;
  bool hung_up_ = false;
};

}  // namespace rootloom
