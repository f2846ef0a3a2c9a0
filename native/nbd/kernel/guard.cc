#include "native/nbd/kernel/guard.h"

#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "native/nbd/kernel/guard_process.h"

namespace rootloom::nbd {

// Of the process, and never destroyed: a guard that is still needed when the process ends must not end before it.
class GuardedDevice::Guard {
 public:
  static Guard& Of(const std::string& program) {
    static auto& mutex = *new std::mutex;
    static auto& guards = *new std::map<std::string, Guard>;
    std::lock_guard lock(mutex);
    return guards.try_emplace(program, program).first->second;
  }

  explicit Guard(std::string program) : program_(std::move(program)) {}

  Status Add(const GuardTarget& target) {
    std::lock_guard lock(mutex_);
    if (process_ == nullptr || !process_->Send({.kind = GuardMessage::Kind::kWatch, .target = target})) {
      process_.reset();
      ROOTLOOM_ASSIGN_OR_RETURN(process_, GuardProcess::Start(program_));
      targets_.push_back(target);
      for (const GuardTarget& each : targets_) process_->Send({.kind = GuardMessage::Kind::kWatch, .target = each});
    } else {
      targets_.push_back(target);
    }
    return Status::Ok();
  }

  void Remove(const GuardTarget& target) {
    std::lock_guard lock(mutex_);
    std::erase(targets_, target);
    if (targets_.empty()) {
      process_.reset();
    } else if (process_ != nullptr) {
      process_->Send({.kind = GuardMessage::Kind::kRelease, .target = target});
    }
  }

 private:
  const std::string program_;
  std::mutex mutex_;
  // ---- protected by mutex_ ----
  std::vector<GuardTarget> targets_;
  std::unique_ptr<GuardProcess> process_;
};

Result<GuardedDevice> GuardedDevice::Watch(const std::string& program, const GuardTarget& target) {
  Guard& guard = Guard::Of(program);
  ROOTLOOM_RETURN_IF_ERROR(guard.Add(target));
  return GuardedDevice(&guard, target);
}

GuardedDevice::GuardedDevice(GuardedDevice&& other) noexcept
    : guard_(std::exchange(other.guard_, nullptr)), target_(std::move(other.target_)) {}

GuardedDevice& GuardedDevice::operator=(GuardedDevice&& other) noexcept {
  std::swap(guard_, other.guard_);
  std::swap(target_, other.target_);
  return *this;
}

GuardedDevice::~GuardedDevice() {
  if (guard_ != nullptr) guard_->Remove(target_);
}

}  // namespace rootloom::nbd
