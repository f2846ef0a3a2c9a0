#include "native/nbd/kernel/queue_settings.h"

#include <cstdlib>

namespace rootloom::nbd {

namespace {

constexpr const char* kScheduler = "scheduler";
constexpr const char* kMaxSectors = "max_sectors_kb";
constexpr const char* kReadAhead = "read_ahead_kb";

class Queue {
 public:
  Queue(const Machine& machine, uint32_t index) : folder_(machine.SysfsPath(index) + "/queue/") {}

  // Of a choice, "a [b] c", the one in brackets.
  Result<std::string> Read(const char* name) const {
    ROOTLOOM_ASSIGN_OR_RETURN(std::string text, ReadKernelFile(folder_ + name));
    const size_t begin = text.find('[');
    if (begin == std::string::npos) return text;
    return text.substr(begin + 1, text.find(']', begin) - begin - 1);
  }

  // Sets name unless it is so already; must: or fails.
  Status Set(const char* name, const std::string& value, bool must) const {
    ROOTLOOM_ASSIGN_OR_RETURN(const std::string before, Read(name));
    if (before == value) return Status::Ok();
    const Status written = WriteKernelFile(folder_ + name, value);
    if (!must) return Status::Ok();
    ROOTLOOM_ASSIGN_OR_RETURN(const std::string after, Read(name));
    if (after == value) return Status::Ok();
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = std::string("set ") + name + " of",
                   .detail = "the kernel keeps " + after + ", " + value + " was wanted",
                   .path = folder_,
                   .error_number = written.ok() ? 0 : written.failure().error_number};
  }

 private:
  const std::string folder_;
};

Status SetNumber(const Queue& queue, const char* name, const std::optional<uint32_t>& wish, uint32_t fallback) {
  return queue.Set(name, std::to_string(wish.value_or(fallback)), wish.has_value());
}

}  // namespace

Result<QueueSettings> ApplyQueueSettings(const Machine& machine, uint32_t index, const QueueWishes& wishes) {
  const Queue queue(machine, index);
  ROOTLOOM_RETURN_IF_ERROR(queue.Set(kScheduler, wishes.scheduler.value_or(kDefaultQueue.scheduler),  //
                                     wishes.scheduler.has_value()));
  ROOTLOOM_RETURN_IF_ERROR(SetNumber(queue, kMaxSectors, wishes.max_sectors_kb, kDefaultQueue.max_sectors_kb));
  ROOTLOOM_RETURN_IF_ERROR(SetNumber(queue, kReadAhead, wishes.read_ahead_kb, kDefaultQueue.read_ahead_kb));
  return ReadQueueSettings(machine, index);
}

Result<QueueSettings> ReadQueueSettings(const Machine& machine, uint32_t index) {
  const Queue queue(machine, index);
  QueueSettings settings;
  ROOTLOOM_ASSIGN_OR_RETURN(settings.scheduler, queue.Read(kScheduler));
  ROOTLOOM_ASSIGN_OR_RETURN(const std::string max_sectors, queue.Read(kMaxSectors));
  ROOTLOOM_ASSIGN_OR_RETURN(const std::string read_ahead, queue.Read(kReadAhead));
  settings.max_sectors_kb = static_cast<uint32_t>(std::strtoul(max_sectors.c_str(), nullptr, 10));
  settings.read_ahead_kb = static_cast<uint32_t>(std::strtoul(read_ahead.c_str(), nullptr, 10));
  return settings;
}

}  // namespace rootloom::nbd
