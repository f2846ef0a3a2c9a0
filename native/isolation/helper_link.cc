#include "native/isolation/helper_link.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "native/isolation/served_disk.h"

namespace rootloom {

namespace {

constexpr size_t kReceiveBytes = 64 << 10;

// Rounded up, or a wait would end before its time, again and again.
int PollTimeout(std::chrono::nanoseconds time) {
  return static_cast<int>(std::max(std::chrono::ceil<std::chrono::milliseconds>(time).count(), int64_t{0}));
}

}  // namespace

Result<HelperLink> HelperLink::Open(Names names, UniqueFd& peer) {
  UniqueFd socket;
  ROOTLOOM_RETURN_IF_ERROR(MakeSocketPair(socket, peer));
  ROOTLOOM_ASSIGN_OR_RETURN(nbd::WakeEvent wake, nbd::WakeEvent::Create());
  return HelperLink(std::move(names), std::move(socket), std::move(wake));
}

Failure HelperLink::Crashed(std::string detail) const {
  return {.kind = StatusKind::kEngineCrashed,
          .operation = names_.operation,
          .detail = std::move(detail),
          .path = names_.path};
}

Failure HelperLink::Nonsense(const std::string& what) const {
  return Crashed("its helper said what makes no sense: " + what);
}

Failure HelperLink::HungUp() {
  hung_up_ = true;
  return Crashed("its helper hung up");
}

Status HelperLink::WaitFor(short events, const SignsOfLife& life, const std::stop_token& stop,
                           Clock::time_point deadline) {
  wake_.Clear();
  const std::stop_callback wake_on_stop(stop, [this] { wake_.Wake(); });
  Clock::time_point stalled_at = Clock::now() + names_.stall_timeout;
  uint64_t activity = life.activity();
  std::chrono::nanoseconds cpu_time = life.cpu_time();
  std::chrono::nanoseconds cpu_limit = cpu_time + names_.stall_timeout;
  for (;;) {
    if (stop.stop_requested()) return Status::Cancelled(names_.operation);
    // Looked at first: a helper that talks without end must not hold it up.
    if (Clock::now() >= deadline) {
      return Failure{.kind = StatusKind::kBusy, .operation = names_.operation, .detail = "", .path = names_.path};
    }
    std::array<pollfd, 2> entries = {{{socket_.get(), events, 0}, {wake_.fd(), POLLIN, 0}}};
    const int timeout_ms = PollTimeout(std::min(stalled_at, deadline) - Clock::now());
    const int ready = ::poll(entries.data(), entries.size(), timeout_ms);
    if (ready > 0 && entries[0].revents != 0) return Status::Ok();
    if (ready != 0 || Clock::now() < stalled_at) continue;
    const uint64_t activity_now = life.activity();
    const std::chrono::nanoseconds cpu_time_now = life.cpu_time();
    if (activity_now != activity || life.busy()) {
      cpu_limit = cpu_time_now + names_.stall_timeout;
    } else if (cpu_time_now == cpu_time || cpu_time_now >= cpu_limit) {
      return Crashed("its helper gave no sign of life for " + std::to_string(names_.stall_timeout.count()) + " ms");
    }
    activity = activity_now;
    cpu_time = cpu_time_now;
    stalled_at = Clock::now() + names_.stall_timeout;
  }
}

Result<Frame> HelperLink::Receive(const SignsOfLife& life, const std::stop_token& stop, Clock::time_point deadline) {
  for (;;) {
    Result<std::optional<Frame>> frame = reader_.Next();
    if (!frame.ok()) return Nonsense(frame.status().failure().detail);
    if (*frame) return **std::move(frame);
    ROOTLOOM_RETURN_IF_ERROR(WaitFor(POLLIN, life, stop, deadline));
    std::array<std::byte, kReceiveBytes> buffer;
    const ssize_t received = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (received < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (received <= 0) return HungUp();
    reader_.Add(std::span(buffer).first(static_cast<size_t>(received)));
  }
}

Status HelperLink::Send(HelperMessage kind, std::span<const std::byte> payload, int passed_fd) {
  return SendFrame(socket_.get(), kind, payload, passed_fd).ok() ? Status::Ok() : HungUp();
}

Status HelperLink::Send(HelperMessage kind, std::span<const std::byte> payload, const SignsOfLife& life,
                        const std::stop_token& stop) {
  const std::vector<std::byte> frame = EncodeFrame(kind, payload);
  for (std::span<const std::byte> rest = frame; !rest.empty();) {
    const ssize_t sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      ROOTLOOM_RETURN_IF_ERROR(WaitFor(POLLOUT, life, stop, Clock::time_point::max()));
      continue;
    }
    if (sent < 0) return HungUp();
    rest = rest.subspan(static_cast<size_t>(sent));
  }
  return Status::Ok();
}

}  // namespace rootloom
