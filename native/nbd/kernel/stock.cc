#include "native/nbd/kernel/stock.h"

#include <chrono>
#include <utility>

#include "native/nbd/worker_pool.h"

namespace rootloom::nbd {

namespace {

// When no device is to be had: how long until the next look. Nothing tells that another process has let one go.
constexpr std::chrono::seconds kRetry(1);

}  // namespace

Result<std::shared_ptr<Stock>> Stock::Start(std::shared_ptr<Pool> pool, uint32_t count) {
  std::shared_ptr<Stock> stock(new Stock(std::move(pool), count));
  ROOTLOOM_ASSIGN_OR_RETURN(stock->thread_, StartThread([stock = stock.get()] { stock->Fill(); }));
  return stock;
}

Stock::~Stock() { Stop(); }

void Stock::Stop() {
  std::call_once(stop_once_, [this] {
    stop_.request_stop();
    if (thread_.joinable()) thread_.join();
    ready_.clear();
  });
}

void Stock::Fill() {
  CallContext context;
  context.stop = stop_.get_token();
  std::unique_lock lock(mutex_);
  while (!context.stop.stop_requested()) {
    if (ready_.size() >= count_) {
      changed_.wait(lock, context.stop, [this] { return ready_.size() < count_; });
      continue;
    }
    lock.unlock();
    auto attachment = Attachment::ConnectAhead(pool_, options_, context);
    lock.lock();
    if (attachment.ok()) {
      ready_.push_back(std::move(attachment).value());
    } else {
      changed_.wait_for(lock, context.stop, kRetry, [] { return false; });
    }
  }
}

std::shared_ptr<Attachment> Stock::Take(const Device& device, const Attachment::Options& options) {
  std::vector<std::shared_ptr<Attachment>> lost;  // Closed without the lock.
  std::lock_guard lock(mutex_);
  while (!ready_.empty()) {
    if (!Attachment::Suits({.connection_count = options_.connection_count, .mechanism = ready_.back()->mechanism()},
                           device, options)) {
      return nullptr;
    }
    std::shared_ptr<Attachment> taken = std::move(ready_.back());
    ready_.pop_back();
    changed_.notify_one();
    if (!taken->lost()) return taken;
    lost.push_back(std::move(taken));
  }
  return nullptr;
}

Result<std::shared_ptr<Attachment>> Stock::Attach(const std::shared_ptr<Device>& device,
                                                  const Attachment::Options& options, const CallContext& context) {
  if (std::shared_ptr<Attachment> taken = Take(*device, options)) {
    const Status status = taken->Choose(device, options);
    if (status.ok()) return taken;
    // What the caller asked for is told; for the rest a new connection may do better.
    if (status.failure().kind == StatusKind::kInvalidArgument) return status;
  }
  return Attachment::Attach(pool_, device, options, context);
}

}  // namespace rootloom::nbd
