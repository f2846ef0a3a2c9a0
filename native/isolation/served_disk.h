// ServedDisk: one device, offered to the helper over the NBD protocol on one end of a socket pair.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "native/block/overlay_device.h"
#include "native/isolation/watched_device.h"
#include "native/nbd/connection.h"
#include "native/nbd/worker_pool.h"
#include "native/util/unique_fd.h"

namespace rootloom {

class ServedDisk {
 public:
  // Serves device on a thread until the other end, which peer gets, is closed; read-only unless writable says
  // otherwise, whatever the device allows. workers must outlive it.
  static Result<std::unique_ptr<ServedDisk>> Start(std::shared_ptr<Device> device, bool writable,
                                                   nbd::WorkerPool& workers, UniqueFd& peer);
  // Waits for the operation under way, and stops.
  ~ServedDisk();

  WatchedDevice& device() { return *device_; }
  std::shared_ptr<WatchedDevice> shared_device() { return device_; }
  // True once the other end is closed, and every operation has ended.
  bool ended() const { return ended_.load(std::memory_order_acquire); }

 private:
  ServedDisk(std::shared_ptr<WatchedDevice> device, std::unique_ptr<nbd::Connection> connection)
      : device_(std::move(device)), connection_(std::move(connection)) {}

  const std::shared_ptr<WatchedDevice> device_;
  const std::unique_ptr<nbd::Connection> connection_;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

// An overlay on device with a nameless file that is made at upper_path: for what may be thrown away.
Result<std::shared_ptr<OverlayDevice>> MakeOverlayOn(std::shared_ptr<Device> device, const std::string& upper_path);

// Two connected stream sockets, closed on exec.
Status MakeSocketPair(UniqueFd& one, UniqueFd& other);

}  // namespace rootloom
