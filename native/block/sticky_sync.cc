#include "native/block/sticky_sync.h"

#include <unistd.h>

#include <cerrno>

namespace rootloom {

Status StickySync::Sync(int fd, const std::string& path) {
  // Not under the lock: syncs of several threads run side by side.
  const int error_number = ::fdatasync(fd) == 0 ? 0 : errno;
  std::lock_guard lock(mutex_);
  if (error_number != 0 && !lost_.has_value()) lost_ = Status::Errno("sync", path, error_number).failure();
  return lost_.has_value() ? Status(*lost_) : Status::Ok();
}

}  // namespace rootloom
