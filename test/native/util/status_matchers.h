// What tests say about Status and Result.
#pragma once

#include <gtest/gtest.h>

#include "native/util/status.h"

namespace rootloom::testing {

inline ::testing::AssertionResult IsOk(const Status& status) {
  if (status.ok()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << StatusKindName(status.failure().kind) << ": " << status.failure().Message();
}

template <typename T>
::testing::AssertionResult IsOk(const Result<T>& result) {
  return IsOk(result.status());
}

// Failed, with this errno.
inline ::testing::AssertionResult FailedWith(const Status& status, int error_number) {
  if (status.ok()) return ::testing::AssertionFailure() << "succeeded";
  if (status.failure().error_number == error_number) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "errno " << status.failure().error_number << ": "
                                       << status.failure().Message();
}

template <typename T>
::testing::AssertionResult FailedWith(const Result<T>& result, int error_number) {
  return FailedWith(result.status(), error_number);
}

}  // namespace rootloom::testing
