#include "native/util/status.h"

#include <cerrno>
#include <cstring>

namespace rootloom {

const char* StatusKindName(StatusKind kind) {
  switch (kind) {
    case StatusKind::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case StatusKind::kNotFound:
      return "NOT_FOUND";
    case StatusKind::kCorrupt:
      return "CORRUPT";
    case StatusKind::kIo:
      return "IO";
    case StatusKind::kNoSpace:
      return "NO_SPACE";
    case StatusKind::kTooSmall:
      return "TOO_SMALL";
    case StatusKind::kCancelled:
      return "CANCELLED";
    case StatusKind::kUnsupported:
      return "UNSUPPORTED";
    case StatusKind::kBusy:
      return "BUSY";
    case StatusKind::kPermission:
      return "NO_PERMISSION";
    case StatusKind::kModuleMissing:
      return "MODULE_MISSING";
    case StatusKind::kToolMissing:
      return "TOOL_MISSING";
    case StatusKind::kEngineCrashed:
      return "ENGINE_CRASHED";
  }
  return "IO";
}

std::string Failure::Message() const {
  std::string message = "Cannot " + operation;
  if (!path.empty()) message += " " + path;
  if (!detail.empty()) {
    message += ": " + detail;
  } else if (error_number != 0) {
    char buffer[128];
    message += ": ";
    message += strerror_r(error_number, buffer, sizeof buffer);
  }
  if (offset_bytes.has_value()) message += " (at byte " + std::to_string(*offset_bytes) + ")";
  return message;
}

Status Status::Errno(std::string operation, std::string path, int error_number, std::optional<uint64_t> offset_bytes) {
  StatusKind kind = StatusKind::kIo;
  if (error_number == ENOSPC || error_number == EDQUOT) kind = StatusKind::kNoSpace;
  if (error_number == ENOENT) kind = StatusKind::kNotFound;
  return Status(Failure{.kind = kind,
                        .operation = std::move(operation),
                        .path = std::move(path),
                        .offset_bytes = offset_bytes,
                        .error_number = error_number});
}

Status Status::Invalid(std::string operation, std::string detail) {
  return Status(
      Failure{.kind = StatusKind::kInvalidArgument, .operation = std::move(operation), .detail = std::move(detail)});
}

Status Status::Corrupt(std::string operation, std::string detail, std::optional<uint64_t> offset_bytes) {
  return Status(Failure{.kind = StatusKind::kCorrupt,
                        .operation = std::move(operation),
                        .detail = std::move(detail),
                        .offset_bytes = offset_bytes});
}

Status Status::Unsupported(std::string operation, std::string detail) {
  return Status(
      Failure{.kind = StatusKind::kUnsupported, .operation = std::move(operation), .detail = std::move(detail)});
}

Status Status::Cancelled(std::string operation) {
  return Status(Failure{
      .kind = StatusKind::kCancelled, .operation = std::move(operation), .detail = "the operation was cancelled"});
}

}  // namespace rootloom
