#include "native/nbd/kernel/link.h"

#include <cerrno>

namespace rootloom::nbd {

const char* MechanismName(Mechanism mechanism) { return mechanism == Mechanism::kNetlink ? "netlink" : "ioctl"; }

Status LinkFailure(const std::string& path, int error_number) {
  Failure failure = Status::Errno("connect", path, error_number).failure();
  if (error_number == EBUSY) {
    failure.kind = StatusKind::kBusy;
    failure.detail = "another program uses the device";
  }
  if (error_number == EPERM || error_number == EACCES) {
    failure.kind = StatusKind::kPermission;
    failure.detail = "the kernel wants CAP_SYS_ADMIN in the initial user namespace for that, run as root";
  }
  return failure;
}

}  // namespace rootloom::nbd
