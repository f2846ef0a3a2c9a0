// Stock: devices that are connected before they are wanted, so that attaching one takes no more than telling the kernel
// its size.
//
// A thread keeps the stock full. What is taken from it is an attachment like any other.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "native/nbd/kernel/attachment.h"
#include "native/nbd/kernel/pool.h"

namespace rootloom::nbd {

class Stock {
 public:
  // Begins to connect count devices of the pool; as many as there are, when there are fewer, and none while the kernel
  // has no driver.
  static Result<std::shared_ptr<Stock>> Start(std::shared_ptr<Pool> pool, uint32_t count);
  // Stops, and lets go of what is in stock.
  ~Stock();

  // As Attachment::Attach; from the stock when something suitable is there.
  Result<std::shared_ptr<Attachment>> Attach(const std::shared_ptr<Device>& device, const Attachment::Options& options,
                                             const CallContext& context);

  // Any thread, any number of times; all calls return when nothing is in stock any more.
  void Stop();

 private:
  Stock(std::shared_ptr<Pool> pool, uint32_t count) : pool_(std::move(pool)), count_(count) {}

  void Fill();
  std::shared_ptr<Attachment> Take(const Device& device, const Attachment::Options& options);

  const std::shared_ptr<Pool> pool_;
  const uint32_t count_;
  const Attachment::Options options_;
  std::stop_source stop_;
  std::thread thread_;
  std::once_flag stop_once_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::shared_ptr<Attachment>> ready_;  // protected by mutex_
};

}  // namespace rootloom::nbd
