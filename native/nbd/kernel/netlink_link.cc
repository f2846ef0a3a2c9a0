#include "native/nbd/kernel/netlink_link.h"

#include <mutex>
#include <utility>

namespace rootloom::nbd {

namespace {

class NetlinkLink final : public Link {
 public:
  NetlinkLink(const LinkRequest& request, std::shared_ptr<Control> control, LinkWatch& watch)
      : machine_(request.machine),
        index_(request.index),
        backend_(request.settings.backend),
        control_(std::move(control)),
        watch_(watch) {
    watch_.Add(index_, request.on_dead_connection);
  }
  ~NetlinkLink() override { Disconnect(); }

  Status Connect(std::span<const int> sockets, const LinkSettings& settings) {
    const Status status = control_->Connect(index_, sockets, settings);
    connected_ = status.ok();
    return status;
  }

  Mechanism mechanism() const override { return Mechanism::kNetlink; }
  Status Change(const LinkChange& change) override { return control_->Reconfigure(index_, change, backend_); }
  void Disconnect() override {
    std::lock_guard lock(mutex_);
    if (std::exchange(watching_, false)) watch_.Remove(index_);
    if (!std::exchange(connected_, false)) return;
    // When the kernel gave the link up and let the device go, somebody else may be connected by now. A kernel that
    // keeps no backend names cannot be asked.
    const auto facts = ReadFacts(machine_, index_);
    if (facts.ok() && facts->backend && *facts->backend != backend_) return;
    [[maybe_unused]] const Status ignored = control_->Disconnect(index_);
  }
  bool InUse() override {
    const auto in_use = control_->InUse(index_);
    return in_use.ok() && *in_use;
  }

 private:
  const Machine machine_;
  const uint32_t index_;
  const std::string backend_;
  const std::shared_ptr<Control> control_;
  LinkWatch& watch_;
  std::mutex mutex_;
  // ---- protected by mutex_, both until Disconnect ----
  bool watching_ = true;
  bool connected_ = false;
};

}  // namespace

Result<std::unique_ptr<Link>> ConnectByNetlink(const LinkRequest& request, std::shared_ptr<Control> control,
                                               LinkWatch& watch) {
  auto link = std::make_unique<NetlinkLink>(request, std::move(control), watch);
  ROOTLOOM_RETURN_IF_ERROR(link->Connect(request.sockets, request.settings));
  return std::unique_ptr<Link>(std::move(link));
}

}  // namespace rootloom::nbd
