// The settings of a device's request queue, in sysfs. They outlive a connection, so whoever connects a device sets them
// all, whatever its last user wanted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "native/nbd/kernel/machine.h"
#include "native/util/status.h"

namespace rootloom::nbd {

struct QueueSettings {
  std::string scheduler;
  uint32_t max_sectors_kb = 0;  // the longest request
  uint32_t read_ahead_kb = 0;

  bool operator==(const QueueSettings&) const = default;
};

// What is wanted. What is absent gets its default, as far as the machine lets it be changed; what is named must come
// true.
struct QueueWishes {
  std::optional<std::string> scheduler;
  std::optional<uint32_t> max_sectors_kb;
  std::optional<uint32_t> read_ahead_kb;
};

// A server needs no reordering; long requests cost least, and the kernel's read-ahead is kept.
inline const QueueSettings kDefaultQueue{.scheduler = "none", .max_sectors_kb = 1024, .read_ahead_kb = 128};

// Sets what differs, reads everything back, and returns what holds. Fails with kInvalidArgument, naming the setting,
// when a wish that was named did not come true.
Result<QueueSettings> ApplyQueueSettings(const Machine& machine, uint32_t index, const QueueWishes& wishes);
Result<QueueSettings> ReadQueueSettings(const Machine& machine, uint32_t index);

}  // namespace rootloom::nbd
