#include "native/nbd/kernel/ioctl_link.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/nbd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "native/nbd/worker_pool.h"
#include "native/util/file_io.h"

namespace rootloom::nbd {

namespace {

using namespace std::chrono_literals;

// A signal makes the kernel end the connection of the thread that got it, so that thread gets none.
void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

class IoctlLink final : public Link {
 public:
  explicit IoctlLink(const LinkRequest& request)
      : machine_(request.machine),
        index_(request.index),
        path_(machine_.DevicePath(index_)),
        settings_(request.settings),
        sockets_(request.sockets.begin(), request.sockets.end()),
        on_dead_connection_(request.on_dead_connection) {}
  ~IoctlLink() override { Disconnect(); }

  Status Connect();

  Mechanism mechanism() const override { return Mechanism::kIoctl; }
  Status Change(const LinkChange& change) override;
  void Disconnect() override;
  bool InUse() override {
    const auto facts = ReadFacts(machine_, index_);
    return facts.ok() && facts->connected();
  }

 private:
  void Live();
  Status LiveInKernel() const;
  Status SetUp() const;
  Status Call(unsigned long request, unsigned long argument) const;
  Status WaitUntilLive();

  const Machine machine_;
  const uint32_t index_;
  const std::string path_;
  const LinkSettings settings_;
  const std::vector<int> sockets_;
  const std::function<void()> on_dead_connection_;

  std::mutex disconnect_mutex_;  // held while disconnecting and changing
  std::thread thread_;           // joined under disconnect_mutex_
  UniqueFd device_;              // opened before the thread starts, closed after it is joined

  std::mutex mutex_;
  std::condition_variable changed_;
  // ---- protected by mutex_ ----
  bool disconnecting_ = false;
  bool ended_ = false;  // the thread has left the kernel
  Status outcome_;      // once ended_
};

Status IoctlLink::Connect() {
  // Not for writing: that would make udev look at the device anew when it is closed.
  auto device = OpenFile(path_, O_RDONLY);
  if (!device.ok()) {
    const Status status = device.status();
    if (status.failure().kind == StatusKind::kNotFound) return status;
    return LinkFailure(path_, status.failure().error_number);
  }
  device_ = std::move(device).value();
  // Having it open keeps others from connecting it by netlink, so this does not change any more.
  if (InUse()) return LinkFailure(path_, EBUSY);
  ROOTLOOM_ASSIGN_OR_RETURN(thread_, StartThread([this] { Live(); }));
  return WaitUntilLive();
}

// Waits for the thread that lives in the kernel, which must not be the one that speaks of its end.
void IoctlLink::Live() {
  BlockSignals();
  Status status;
  auto lodger = StartThread([this, &status] { status = LiveInKernel(); });
  if (lodger.ok()) {
    lodger->join();
  } else {
    status = lodger.status();
  }
  bool expected;
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
    outcome_ = status;
    expected = disconnecting_;
    changed_.notify_all();
  }
  if (!expected) on_dead_connection_();
}

// The kernel wants one and the same thread for all of this.
Status IoctlLink::LiveInKernel() const {
  ROOTLOOM_RETURN_IF_ERROR(SetUp());
  // When the process is killed, this thread waits until the kernel has stopped sending, and the kernel until our ends
  // of the sockets are closed, which happens once no thread shares them any more. Without a table of its own, that has
  // the device alone, this thread would keep both waiting for the time-out. Before Linux 5.9 it does.
  const auto device = static_cast<unsigned>(device_.get());
  if (::close_range(device + 1, ~0U, CLOSE_RANGE_UNSHARE) == 0 && device > 0) ::close_range(0, device - 1, 0);
  return Call(NBD_DO_IT, 0);
}

Status IoctlLink::SetUp() const {
  // The first socket claims the device: it is refused when another program has put in one.
  for (const int socket : sockets_) ROOTLOOM_RETURN_IF_ERROR(Call(NBD_SET_SOCK, static_cast<unsigned long>(socket)));
  ROOTLOOM_RETURN_IF_ERROR(Call(NBD_SET_BLKSIZE, settings_.block_size_bytes));
  ROOTLOOM_RETURN_IF_ERROR(Call(NBD_SET_SIZE_BLOCKS, settings_.size_bytes / settings_.block_size_bytes));
  ROOTLOOM_RETURN_IF_ERROR(Call(NBD_SET_TIMEOUT, settings_.timeout_seconds));
  return Call(NBD_SET_FLAGS, settings_.flags);
}

Status IoctlLink::Call(unsigned long request, unsigned long argument) const {
  if (::ioctl(device_.get(), request, argument) == 0) return Status::Ok();
  return LinkFailure(path_, errno);
}

// Nothing tells when the kernel has taken up its work but the size that the device then has.
Status IoctlLink::WaitUntilLive() {
  for (auto pause = 1ms;; pause = std::min(pause * 2, std::chrono::milliseconds(50))) {
    const auto facts = ReadFacts(machine_, index_);
    if (facts.ok() && facts->kernel_pid && facts->size_bytes == settings_.size_bytes) return Status::Ok();
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, pause, [this] { return ended_; })) continue;
    return outcome_.ok() ? LinkFailure(path_, ECONNABORTED) : outcome_;
  }
}

// Disconnecting on the last close needs no asking: the end of the process ends its thread, and so the connection.
Status IoctlLink::Change(const LinkChange& change) {
  std::lock_guard lock(disconnect_mutex_);
  Status status;
  if (change.timeout_seconds) status = Call(NBD_SET_TIMEOUT, *change.timeout_seconds);
  if (status.ok() && change.size_bytes) {
    status = Call(NBD_SET_SIZE_BLOCKS, *change.size_bytes / settings_.block_size_bytes);
  }
  if (status.ok()) return status;
  Failure failure = status.failure();
  failure.operation = "reconfigure";
  return failure;
}

void IoctlLink::Disconnect() {
  std::lock_guard disconnect_lock(disconnect_mutex_);
  if (!thread_.joinable()) return device_.Reset();
  bool live;
  {
    std::lock_guard lock(mutex_);
    disconnecting_ = true;
    live = !ended_;
  }
  if (live) {
    [[maybe_unused]] const Status polite = Call(NBD_DISCONNECT, 0);
    [[maybe_unused]] const Status cut = Call(NBD_CLEAR_SOCK, 0);
  }
  thread_.join();
  device_.Reset();
}

}  // namespace

Result<std::unique_ptr<Link>> ConnectByIoctl(const LinkRequest& request) {
  auto link = std::make_unique<IoctlLink>(request);
  ROOTLOOM_RETURN_IF_ERROR(link->Connect());
  return std::unique_ptr<Link>(std::move(link));
}

}  // namespace rootloom::nbd
