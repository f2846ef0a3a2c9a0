// PairServer: serves one device on socket pairs, whose other ends are for the kernel. One thread a connection.
//
// The serving threads never allocate memory in a way that would make the kernel write to a disk first (where the
// process may ask for that): such a write could be waiting for this very thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "native/block/device.h"
#include "native/nbd/connection.h"
#include "native/nbd/counters.h"
#include "native/nbd/worker_pool.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

class PairServer {
 public:
  // Serves at once. Shares ownership of the device until destruction. The device itself checks the bounds of requests,
  // for its size may change meanwhile. on_end is called by each connection's thread when it has nothing more to serve:
  // the kernel hung up, or Stop was called.
  static Result<std::unique_ptr<PairServer>> Start(std::shared_ptr<Device> device, bool read_only,
                                                   uint32_t connection_count, std::function<void()> on_end);
  // Stops.
  ~PairServer();

  // The kernel's ends. REQUIRES: CloseKernelEnds was not called
  std::vector<int> kernel_ends() const;
  // Closes our copies of them, once the kernel has its own: from then on each side sees when the other hangs up.
  void CloseKernelEnds() { kernel_ends_.clear(); }

  uint32_t connection_count() const { return static_cast<uint32_t>(links_.size()); }
  uint64_t device_size_bytes() const { return device_->size_bytes(); }
  // How many connections the kernel has hung up on. Waits a moment for one that it is about to hang up on.
  // REQUIRES: CloseKernelEnds was called
  uint32_t CountHungUp() const;
  Counts counts() const;

  // Takes nothing more from the kernel, waits until every operation has ended, and joins the threads. Any thread, once.
  void Stop();

 private:
  struct ServedLink {
    int socket;  // owned by the connection
    std::unique_ptr<Connection> connection;
    std::thread thread;
  };

  PairServer(std::shared_ptr<Device> device, std::function<void()> on_end);
  Status AddConnection(const Session& session);

  const std::shared_ptr<Device> device_;
  const std::function<void()> on_end_;
  WorkerPool workers_;
  std::vector<ServedLink> links_;  // constant once started
  std::vector<UniqueFd> kernel_ends_;
};

}  // namespace rootloom::nbd
