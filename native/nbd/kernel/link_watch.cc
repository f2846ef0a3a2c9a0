#include "native/nbd/kernel/link_watch.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "native/nbd/worker_pool.h"

namespace rootloom::nbd {

Result<std::unique_ptr<LinkWatch>> LinkWatch::Start(std::shared_ptr<Control> control) {
  ROOTLOOM_ASSIGN_OR_RETURN(GenericNetlink events, control->OpenEvents());
  ROOTLOOM_ASSIGN_OR_RETURN(WakeEvent wake, WakeEvent::Create());
  std::unique_ptr<LinkWatch> watch(new LinkWatch(std::move(control), std::move(events), std::move(wake)));
  ROOTLOOM_ASSIGN_OR_RETURN(
      watch->thread_, StartThread([watch = watch.get(), stop = watch->stop_.get_token()] { watch->Listen(stop); }));
  return watch;
}

LinkWatch::~LinkWatch() {
  stop_.request_stop();
  wake_.Wake();
  if (thread_.joinable()) thread_.join();
}

void LinkWatch::Add(uint32_t index, std::function<void()> heard) {
  std::lock_guard lock(mutex_);
  listeners_.insert_or_assign(index, std::move(heard));
}

void LinkWatch::Remove(uint32_t index) {
  std::lock_guard lock(mutex_);
  listeners_.erase(index);
}

void LinkWatch::Listen(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd entries[] = {{.fd = wake_.fd(), .events = POLLIN, .revents = 0},
                        {.fd = events_.fd(), .events = POLLIN, .revents = 0}};
    if (::poll(entries, 2, -1) <= 0 || entries[1].revents == 0) continue;
    Hear();
  }
}

void LinkWatch::Hear() {
  const auto datagram = events_.Receive(MSG_DONTWAIT);
  if (!datagram.ok() && datagram.status().failure().error_number != ENOBUFS) return;
  std::lock_guard lock(mutex_);
  if (!datagram.ok()) {
    for (const auto& [index, heard] : listeners_) heard();
    return;
  }
  const auto index = control_->DeadDevice(*datagram);
  if (!index) return;
  const auto listener = listeners_.find(*index);
  if (listener != listeners_.end()) listener->second();
}

}  // namespace rootloom::nbd
