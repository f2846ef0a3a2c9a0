#include "native/nbd/request.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "native/nbd/operation.h"

namespace rootloom::nbd {
namespace {

constexpr uint64_t kSize = uint64_t{1} << 32;
constexpr Session kPlain{.size_bytes = kSize};
constexpr Session kStructured{.size_bytes = kSize, .structured_replies = true, .base_allocation = true};
constexpr Session kReadOnlySession{.size_bytes = kSize, .read_only = true};

WireError Check(const Session& session, Command command, uint64_t offset_bytes, uint32_t length_bytes,
                uint16_t flags = 0) {
  Request request;
  request.command = command;
  request.offset_bytes = offset_bytes;
  request.length_bytes = length_bytes;
  request.flags = flags;
  const auto refusal = CheckRequest(request, session);
  return refusal ? refusal->error : WireError::kNone;
}

TEST(CheckRequestTest, LetsEverythingWithinTheExportPass) {
  for (const Command command : {Command::kRead, Command::kWrite, Command::kTrim, Command::kCache, Command::kWriteZeroes,
                                Command::kBlockStatus}) {
    EXPECT_EQ(Check(kStructured, command, 0, 1), WireError::kNone);
    EXPECT_EQ(Check(kStructured, command, kSize - 1, 1), WireError::kNone);
    EXPECT_EQ(Check(kStructured, command, 4097, 333), WireError::kNone);
    EXPECT_EQ(Check(kStructured, command, 0, kMaxPayloadBytes), WireError::kNone);
  }
  EXPECT_EQ(Check(kStructured, Command::kFlush, 0, 0), WireError::kNone);
}

TEST(CheckRequestTest, RefusesRangesBeyondTheEndAsTheProtocolSays) {
  struct Range {
    uint64_t offset_bytes;
    uint32_t length_bytes;
  };
  for (const auto& [offset, length] : {Range{kSize, 1}, Range{kSize - 1, 2}, Range{UINT64_MAX, 1},
                                       Range{UINT64_MAX - 1, 2}, Range{2, UINT32_MAX}, Range{UINT64_MAX, UINT32_MAX}}) {
    EXPECT_EQ(Check(kStructured, Command::kRead, offset, length), WireError::kInvalid);
    EXPECT_EQ(Check(kStructured, Command::kTrim, offset, length), WireError::kInvalid);
    EXPECT_EQ(Check(kStructured, Command::kCache, offset, length), WireError::kInvalid);
    EXPECT_EQ(Check(kStructured, Command::kBlockStatus, offset, length), WireError::kInvalid);
    EXPECT_EQ(Check(kStructured, Command::kWrite, offset, length), WireError::kNoSpace);
    EXPECT_EQ(Check(kStructured, Command::kWriteZeroes, offset, length), WireError::kNoSpace);
  }
}

TEST(CheckRequestTest, LimitsPayloadsButNotLengths) {
  EXPECT_EQ(Check(kPlain, Command::kRead, 0, kMaxPayloadBytes + 1), WireError::kInvalid);
  EXPECT_EQ(Check(kStructured, Command::kRead, 0, kMaxPayloadBytes + 1), WireError::kOverflow);
  EXPECT_EQ(Check(kStructured, Command::kWrite, 0, kMaxPayloadBytes + 1), WireError::kInvalid);
  for (const Command command : {Command::kTrim, Command::kCache, Command::kWriteZeroes, Command::kBlockStatus}) {
    EXPECT_EQ(Check(kStructured, command, 0, UINT32_MAX), WireError::kNone);
  }
}

TEST(CheckRequestTest, RefusesChangesOfAReadOnlyExport) {
  EXPECT_EQ(Check(kReadOnlySession, Command::kWrite, 0, 1), WireError::kPermission);
  EXPECT_EQ(Check(kReadOnlySession, Command::kTrim, 0, 1), WireError::kPermission);
  EXPECT_EQ(Check(kReadOnlySession, Command::kWriteZeroes, 0, 1), WireError::kPermission);
  EXPECT_EQ(Check(kReadOnlySession, Command::kRead, 0, 1), WireError::kNone);
  EXPECT_EQ(Check(kReadOnlySession, Command::kFlush, 0, 0), WireError::kNone);
}

TEST(CheckRequestTest, RefusesFlagsThatACommandDoesNotTake) {
  const std::pair<Command, uint16_t> allowed[] = {
      {Command::kRead, kCommandFlagFua | kCommandFlagDf},
      {Command::kWrite, kCommandFlagFua},
      {Command::kTrim, kCommandFlagFua},
      {Command::kCache, kCommandFlagFua},
      {Command::kWriteZeroes, kCommandFlagFua | kCommandFlagNoHole | kCommandFlagFastZero},
      {Command::kBlockStatus, kCommandFlagFua | kCommandFlagReqOne},
  };
  for (const auto& [command, flags] : allowed) {
    for (int bit = 0; bit < 16; ++bit) {
      const auto flag = static_cast<uint16_t>(1 << bit);
      const WireError wanted = (flags & flag) != 0 ? WireError::kNone : WireError::kInvalid;
      EXPECT_EQ(Check(kStructured, command, 0, 512, flag), wanted) << int(command) << " " << bit;
    }
  }
  EXPECT_EQ(Check(kPlain, Command::kRead, 0, 512, kCommandFlagDf), WireError::kInvalid);
}

TEST(CheckRequestTest, RefusesWhatMakesNoSense) {
  EXPECT_EQ(Check(kPlain, Command::kBlockStatus, 0, 512), WireError::kInvalid);
  EXPECT_EQ(Check(kPlain, Command::kRead, 0, 0), WireError::kInvalid);
  EXPECT_EQ(Check(kPlain, Command::kWrite, kSize, 0), WireError::kInvalid);
  EXPECT_EQ(Check(kPlain, Command::kFlush, 0, 1), WireError::kInvalid);
  EXPECT_EQ(Check(kPlain, Command::kFlush, 1, 0), WireError::kInvalid);
  for (const uint16_t unknown : {8, 9, 255, 65535}) {
    EXPECT_EQ(Check(kStructured, static_cast<Command>(unknown), 0, 512), WireError::kInvalid);
  }
}

WireError Map(int error_number, StatusKind kind = StatusKind::kIo, uint16_t flags = 0) {
  Request request;
  request.command = Command::kWriteZeroes;
  request.flags = flags;
  return ToWireError(request, Failure{.kind = kind, .error_number = error_number});
}

TEST(ToWireErrorTest, KnowsOnlyWhatTheProtocolAllows) {
  EXPECT_EQ(Map(EPERM), WireError::kPermission);
  EXPECT_EQ(Map(EACCES), WireError::kPermission);
  EXPECT_EQ(Map(EROFS), WireError::kPermission);
  EXPECT_EQ(Map(EIO), WireError::kIo);
  EXPECT_EQ(Map(ENOMEM), WireError::kNoMemory);
  EXPECT_EQ(Map(EINVAL), WireError::kInvalid);
  EXPECT_EQ(Map(ENOSPC), WireError::kNoSpace);
  EXPECT_EQ(Map(EDQUOT), WireError::kNoSpace);
  EXPECT_EQ(Map(EFBIG), WireError::kNoSpace);
  EXPECT_EQ(Map(EOPNOTSUPP), WireError::kInvalid);
  EXPECT_EQ(Map(EOPNOTSUPP, StatusKind::kIo, kCommandFlagFastZero), WireError::kNotSupported);
  EXPECT_EQ(Map(0, StatusKind::kNoSpace), WireError::kNoSpace);
  EXPECT_EQ(Map(0, StatusKind::kCancelled), WireError::kShutdown);
  EXPECT_EQ(Map(0, StatusKind::kCorrupt), WireError::kIo);
  EXPECT_EQ(Map(EBADF), WireError::kIo);
  EXPECT_EQ(Map(ETIMEDOUT), WireError::kIo);
}

}  // namespace
}  // namespace rootloom::nbd
