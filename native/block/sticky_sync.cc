#include "native/block/sticky_sync.h"

#include <unistd.h>

#include <cerrno>

namespace rootloom {

Status StickySync::Sync(int fd, const std::string& path) {
  // Not under the lock: syncs of several threads run side by side.
  const int error_number = ::fdatasync(fd) == 0 ? 0 : errno;
  ROOTLOOM_RETURN_IF_ERROR(Keep(error_number == 0 ? Status::Ok() : Status::Errno("sync", path, error_number)));
  std::lock_guard lock(mutex_);
  return lost_.has_value() ? Status(*lost_) : Status::Ok();
}

Status StickySync::Keep(Status status) {
  std::lock_guard lock(mutex_);
  if (!status.ok() && !lost_.has_value()) lost_ = status.failure();
  return status;
}

}  // namespace rootloom
