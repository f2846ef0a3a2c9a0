#include "native/util/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "test/native/util/status_matchers.h"

namespace rootloom::testing {
namespace {

TEST(StatusTest, DerivesTheKindFromErrno) {
  EXPECT_EQ(Status::Errno("write", "disk", ENOSPC).failure().kind, StatusKind::kNoSpace);
  EXPECT_EQ(Status::Errno("write", "disk", EDQUOT).failure().kind, StatusKind::kNoSpace);
  EXPECT_EQ(Status::Errno("open", "disk", ENOENT).failure().kind, StatusKind::kNotFound);
  EXPECT_EQ(Status::Errno("read", "disk", EIO).failure().kind, StatusKind::kIo);
}

TEST(StatusTest, SaysWhatWasDoneToWhatAndWhere) {
  EXPECT_EQ(Status::Errno("read", "disk", EIO, 4096).failure().Message(),
            "Cannot read disk: Input/output error (at byte 4096)");
  EXPECT_EQ(Status::Invalid("make a device", "the size is 1, it must be 2").failure().Message(),
            "Cannot make a device: the size is 1, it must be 2");
}

TEST(StatusTest, EveryKindHasAName) {
  EXPECT_STREQ(StatusKindName(StatusKind::kTooSmall), "TOO_SMALL");
  EXPECT_STREQ(StatusKindName(StatusKind::kCancelled), "CANCELLED");
}

Result<std::unique_ptr<int>> Half(int number) {
  if (number % 2 != 0) return Status::Invalid("halve", "it is odd");
  return std::make_unique<int>(number / 2);
}

Result<int> Quarter(int number) {
  ROOTLOOM_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(number));
  ROOTLOOM_ASSIGN_OR_RETURN(const std::unique_ptr<int> quarter, Half(*half));
  return *quarter;
}

TEST(ResultTest, CarriesAValueOrAFailure) {
  EXPECT_EQ(Quarter(12).value(), 3);
  ASSERT_FALSE(Quarter(6).ok());
  EXPECT_EQ(Quarter(6).status().failure().kind, StatusKind::kInvalidArgument);
}

}  // namespace
}  // namespace rootloom::testing
