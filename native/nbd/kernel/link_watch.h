// LinkWatch: listens to the kernel's word of dead connections, for all attachments of a pool.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "native/nbd/kernel/control.h"
#include "native/nbd/wake_event.h"

namespace rootloom::nbd {

class LinkWatch {
 public:
  // Starts a thread that waits for events. Keeps its share of control.
  static Result<std::unique_ptr<LinkWatch>> Start(std::shared_ptr<Control> control);
  ~LinkWatch();

  // Has heard called, on the watch's thread, when a connection of that device may have died. An event can be one that
  // the device's last user left behind, and when events were lost all listeners are called: the listener looks for
  // itself. One listener a device. heard must not call Add or Remove.
  void Add(uint32_t index, std::function<void()> heard);
  // When it returns the listener is not running, and will not be called any more.
  void Remove(uint32_t index);

 private:
  LinkWatch(std::shared_ptr<Control> control, GenericNetlink events, WakeEvent wake)
      : control_(std::move(control)), events_(std::move(events)), wake_(std::move(wake)) {}

  void Listen(const std::stop_token& stop);
  void Hear();

  const std::shared_ptr<Control> control_;
  GenericNetlink events_;
  const WakeEvent wake_;
  std::mutex mutex_;
  std::map<uint32_t, std::function<void()>> listeners_;  // protected by mutex_, also while one runs
  std::stop_source stop_;
  std::thread thread_;
};

}  // namespace rootloom::nbd
