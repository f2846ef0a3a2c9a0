#include "native/nbd/kernel/pool.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <random>
#include <utility>

#include "native/nbd/kernel/patience.h"

namespace rootloom::nbd {

namespace {

constexpr const char* kAcquire = "get a free NBD device";
// How long a device may be in the hands of programs that only look at it (udev, blkid) and is waited for.
constexpr std::chrono::milliseconds kLookedAt(500);

// Nobody else's, ever: 128 random bits.
std::string NewBackendName() {
  std::random_device random;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "rootloom-%08x%08x%08x%08x", random(), random(), random(), random());
  return text.data();
}

Failure Exhausted(size_t device_count, size_t locked_count) {
  return {.kind = StatusKind::kBusy,
          .operation = kAcquire,
          .detail = "all " + std::to_string(device_count) + " are in use (" + std::to_string(locked_count) +
                    " by rootloom), detach one or load the driver with more: modprobe nbd nbds_max=…"};
}

}  // namespace

Result<std::shared_ptr<Pool>> Pool::Open(const Options& options) {
  std::string folder = options.run_folder;
  if (folder.empty()) {
    ROOTLOOM_ASSIGN_OR_RETURN(folder, DefaultRunFolder());
  }
  ROOTLOOM_RETURN_IF_ERROR(MakeRunFolder(folder));
  return std::shared_ptr<Pool>(new Pool(options, std::move(folder)));
}

Result<Pool::Slot> Pool::Acquire(const CallContext& context, const Attempt& attempt) {
  ROOTLOOM_ASSIGN_OR_RETURN(std::vector<uint32_t> indices, ListDevices(machine_));
  // Callers that start at different places meet less often.
  if (!indices.empty()) {
    std::rotate(indices.begin(), indices.begin() + std::random_device()() % indices.size(), indices.end());
  }
  Round round;
  Status failure;
  std::optional<Slot> slot;
  // Looking at a device (udev, blkid) keeps it from being connected for a moment: then a second look is worth it.
  WaitUntil(kLookedAt, context.stop, [&] {
    round = {};
    auto tried = TryEach(indices, attempt, context, round);
    if (!tried.ok()) {
      failure = tried.status();
    } else {
      slot = std::move(tried).value();
    }
    return !failure.ok() || slot || !round.looked_at;
  });
  ROOTLOOM_RETURN_IF_ERROR(failure);
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kAcquire));
  if (!slot) return Exhausted(indices.size(), round.locked_count);
  return std::move(*slot);
}

Result<std::optional<Pool::Slot>> Pool::TryEach(const std::vector<uint32_t>& indices, const Attempt& attempt,
                                                const CallContext& context, Round& round) {
  for (const uint32_t index : indices) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kAcquire));
    ROOTLOOM_ASSIGN_OR_RETURN(std::optional<SlotLock> lock, SlotLock::Try(run_folder_, index));
    if (!lock) {
      ++round.locked_count;
      continue;
    }
    const auto facts = ReadFacts(machine_, index);
    // A record of a device that is connected is the proof that reclaiming needs.
    if (!facts.ok() || facts->connected()) continue;
    const std::string backend = NewBackendName();
    ROOTLOOM_RETURN_IF_ERROR(WriteRecord(*lock, backend));
    const Status status = attempt(index, backend);
    if (status.ok()) return std::optional(Slot{.index = index, .lock = std::move(*lock)});
    [[maybe_unused]] const Status ignored = lock->Clear();
    if (status.failure().kind != StatusKind::kBusy) return status;
    round.looked_at = true;
  }
  return std::optional<Slot>();
}

Result<std::vector<DeviceReport>> Pool::Report() const {
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<uint32_t> indices, ListDevices(machine_));
  ROOTLOOM_ASSIGN_OR_RETURN(const std::string boot_id, BootId(machine_));
  std::vector<DeviceReport> reports;
  for (const uint32_t index : indices) {
    auto report = ReportOf(index, boot_id);
    if (report.ok()) reports.push_back(std::move(report).value());
  }
  return reports;
}

Result<DeviceReport> Pool::ReportOf(uint32_t index, const std::string& boot_id) const {
  DeviceReport report;
  ROOTLOOM_ASSIGN_OR_RETURN(const bool held, SlotLock::IsHeld(run_folder_, index));
  const auto record = SlotLock::Peek(run_folder_, index);
  ROOTLOOM_ASSIGN_OR_RETURN(report.facts, ReadFacts(machine_, index));
  if (held) {
    report.use = DeviceUse::kOurs;
  } else if (report.facts.connected()) {
    const bool left = record && record->boot_id == boot_id && report.facts.backend == record->backend;
    report.use = left ? DeviceUse::kLeft : DeviceUse::kForeign;
  }
  if (report.use == DeviceUse::kOurs || report.use == DeviceUse::kLeft) report.record = record;
  return report;
}

Result<std::vector<uint32_t>> Pool::Reclaim(const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<DeviceReport> reports, Report());
  ROOTLOOM_ASSIGN_OR_RETURN(const std::string boot_id, BootId(machine_));
  std::vector<uint32_t> reclaimed;
  Status failure;
  for (const DeviceReport& report : reports) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("reclaim NBD devices"));
    if (report.use != DeviceUse::kLeft) continue;
    const auto is_free = TryReclaim(report.facts.index, boot_id, context);
    if (is_free.ok() && *is_free) reclaimed.push_back(report.facts.index);
    // One that cannot be disconnected keeps nobody from the others.
    if (!is_free.ok() && failure.ok()) failure = is_free.status();
  }
  ROOTLOOM_RETURN_IF_ERROR(failure);
  return reclaimed;
}

// With the lock in hand nobody of ours can connect the device, so what is found to be left stays so.
Result<bool> Pool::TryReclaim(uint32_t index, const std::string& boot_id, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const std::shared_ptr<Control> netlink, control());
  ROOTLOOM_ASSIGN_OR_RETURN(const std::optional<SlotLock> lock, SlotLock::Try(run_folder_, index));
  if (!lock) return false;
  const auto record = lock->Read();
  ROOTLOOM_ASSIGN_OR_RETURN(const DeviceFacts facts, ReadFacts(machine_, index));
  if (!record || record->boot_id != boot_id || facts.backend != record->backend) return false;
  ROOTLOOM_RETURN_IF_ERROR(netlink->Disconnect(index));
  const auto is_free = [&] {
    const auto now = ReadFacts(machine_, index);
    return now.ok() && !now->connected();
  };
  if (!WaitUntil(kLookedAt, context.stop, is_free)) return false;
  [[maybe_unused]] const Status ignored = lock->Clear();
  return true;
}

Status Pool::WriteRecord(const SlotLock& lock, const std::string& backend) const {
  SlotRecord record{.pid = ::getpid(), .backend = backend};
  ROOTLOOM_ASSIGN_OR_RETURN(record.boot_id, BootId(machine_));
  ROOTLOOM_ASSIGN_OR_RETURN(record.process_start, ProcessStart(machine_, record.pid));
  return lock.Write(record);
}

Result<std::shared_ptr<Control>> Pool::control() {
  std::lock_guard lock(mutex_);
  if (control_ == nullptr) {
    ROOTLOOM_ASSIGN_OR_RETURN(control_, Control::Open());
  }
  return control_;
}

Result<LinkWatch*> Pool::watch() {
  std::lock_guard lock(mutex_);
  if (watch_ == nullptr) {
    ROOTLOOM_ASSIGN_OR_RETURN(watch_, LinkWatch::Start(control_));
  }
  return watch_.get();
}

}  // namespace rootloom::nbd
