// Status and Result: how every native room reports success or failure.
//
// Nothing below native/binding throws. A failure carries what was being done, to which thing, where, and the
// errno behind it, so that no caller ever has to read a message to learn what happened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace rootloom {

// The closed list of failure kinds. lib/errors.ts maps each to one error code; a test keeps both equal.
enum class StatusKind : uint8_t {
  kInvalidArgument,  // the caller asked for something that can never work
  kNotFound,         // the named thing does not exist
  kCorrupt,          // stored bytes contradict their format
  kIo,               // the device or the kernel reported an error
  kNoSpace,          // the host or the image is full
  kTooSmall,         // the disk cannot be made that small; minimum_bytes says what would do
  kCancelled,        // the stop token was triggered
  kUnsupported,      // valid, but not something this version handles
  kBusy,             // somebody else holds what is needed
  kPermission,       // this process lacks a right that is needed
  kModuleMissing,    // the running kernel lacks a driver that is needed
  kToolMissing,      // a program that is needed cannot be started
  kEngineCrashed,    // the process that worked on a filesystem ended, hung, or said what makes no sense
};

// The stable name of a kind, as seen by JavaScript: "INVALID_ARGUMENT", "NOT_FOUND", ...
const char* StatusKindName(StatusKind kind);

struct Failure {
  StatusKind kind = StatusKind::kIo;
  std::string operation;  // what was being done, as a verb phrase: "read diff"
  std::string detail;     // what is, and what was wanted; may be empty when errno says it all
  std::string path;       // the file, device or in-image path concerned; may be empty
  std::optional<uint64_t> offset_bytes;
  std::optional<uint64_t> minimum_bytes;  // with kTooSmall
  int error_number = 0;                   // errno, 0 when none was involved

  // "Cannot <operation> <path>: <detail or strerror>".
  std::string Message() const;
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Failure failure) : failure_(std::move(failure)) {}  // NOLINT: a failure is a status

  static Status Ok() { return Status(); }
  // A failed system call. kind is derived from error_number (ENOSPC/EDQUOT: kNoSpace, ENOENT: kNotFound, else kIo).
  static Status Errno(std::string operation, std::string path, int error_number,
                      std::optional<uint64_t> offset_bytes = std::nullopt);
  static Status Invalid(std::string operation, std::string detail);
  static Status Corrupt(std::string operation, std::string detail, std::optional<uint64_t> offset_bytes = std::nullopt);
  static Status Unsupported(std::string operation, std::string detail);
  static Status Cancelled(std::string operation);

  bool ok() const { return !failure_.has_value(); }
  // REQUIRES: !ok()
  const Failure& failure() const { return *failure_; }
  Failure& failure() { return *failure_; }

 private:
  std::optional<Failure> failure_;
};

// Either a value or a failure.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}            // NOLINT: a value is a result
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {}     // NOLINT: REQUIRES !status.ok()
  Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  Status status() const { return ok() ? Status::Ok() : std::get<1>(state_); }
  // REQUIRES: ok()
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  T& operator*() & { return std::get<0>(state_); }
  const T& operator*() const& { return std::get<0>(state_); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace rootloom

// Returns from the current function when the expression is a failed Status.
#define ROOTLOOM_RETURN_IF_ERROR(expression)             \
  do {                                                   \
    ::rootloom::Status rootloom_status_ = (expression);  \
    if (!rootloom_status_.ok()) return rootloom_status_; \
  } while (false)

#define ROOTLOOM_CONCAT_INNER(a, b) a##b
#define ROOTLOOM_CONCAT(a, b) ROOTLOOM_CONCAT_INNER(a, b)
// ROOTLOOM_ASSIGN_OR_RETURN(auto file, OpenFile(path)): unwraps a Result or returns its failure.
#define ROOTLOOM_ASSIGN_OR_RETURN(declaration, expression)                                                            \
  auto ROOTLOOM_CONCAT(rootloom_result_, __LINE__) = (expression);                                                    \
  if (!ROOTLOOM_CONCAT(rootloom_result_, __LINE__).ok()) return ROOTLOOM_CONCAT(rootloom_result_, __LINE__).status(); \
  declaration = std::move(ROOTLOOM_CONCAT(rootloom_result_, __LINE__)).value()
