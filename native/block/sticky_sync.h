// StickySync: fdatasync that does not forget.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "native/util/status.h"

namespace rootloom {

// The kernel reports the loss of written pages to one sync only; the next one succeeds, with the pages gone. This
// keeps the first failure and returns it for ever after. Thread-safe.
class StickySync {
 public:
  // Makes what was written to fd durable. path is only for the error.
  Status Sync(int fd, const std::string& path);
  // Takes the outcome of another call that may have been told of the loss, and passes it on.
  Status Keep(Status status);

 private:
  std::mutex mutex_;
  std::optional<Failure> lost_;  // protected by mutex_
};

}  // namespace rootloom
