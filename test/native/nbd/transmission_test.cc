// Requests and answers on a connection that is past the handshake.
#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>

#include "native/block/faulty_device.h"
#include "native/block/logging_device.h"
#include "native/block/zero_device.h"
#include "test/native/nbd/harness.h"

namespace rootloom::nbd {
namespace {

using testing::Bytes;
using testing::NewMemoryDevice;
using testing::Pair;
using testing::Pattern;
using testing::RawClient;
using testing::ReadDevice;
using testing::RequestBytes;
using namespace std::chrono_literals;

constexpr uint64_t kSize = 64 << 20;
constexpr Session kSimple{.size_bytes = kSize};
constexpr Session kStructured{.size_bytes = kSize, .structured_replies = true, .base_allocation = true};

class TransmissionTest : public ::testing::TestWithParam<bool> {
 protected:
  Session session() const { return GetParam() ? kStructured : kSimple; }
};
INSTANTIATE_TEST_SUITE_P(Replies, TransmissionTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Structured" : "Simple"; });

TEST_P(TransmissionTest, ReadsWhatWasWrittenAtAnyAlignmentAndLength) {
  auto device = NewMemoryDevice(kSize);
  Pair pair(device, session());
  uint64_t seed = 0;
  for (const uint32_t length : {1u, 511u, 4096u, 65536u, 65537u, 300000u, 1u << 20, kMaxPayloadBytes}) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{4095}, uint64_t{1234567}, kSize - length}) {
      if (offset + length > kSize) continue;
      const Bytes data = Pattern(length, ++seed);
      ASSERT_EQ(pair.client().ErrorOf(Command::kWrite, offset, length, 0, data), WireError::kNone);
      ASSERT_EQ(ReadDevice(*device, offset, length), data);
      const auto reply = pair.client().Call(Command::kRead, offset, length);
      ASSERT_TRUE(reply.has_value());
      ASSERT_EQ(reply->structured, GetParam());
      ASSERT_EQ(reply->data, data);
    }
  }
}

TEST_P(TransmissionTest, ReadsZerosAsAHoleOrAsZeros) {
  Pair pair(NewMemoryDevice(kSize), session());
  const auto reply = pair.client().Call(Command::kRead, 4096, 100000);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->type, GetParam() ? kReplyTypeOffsetHole : kReplyTypeNone);
  EXPECT_EQ(reply->data, Bytes(100000));
}

TEST_P(TransmissionTest, CarriesOutEveryCommand) {
  auto memory = NewMemoryDevice(kSize);
  auto device = std::make_shared<LoggingDevice>(memory);
  Pair pair(device, session());
  RawClient& client = pair.client();
  const Bytes data = Pattern(16384, 1);
  EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 16384, 0, data), WireError::kNone);
  EXPECT_EQ(client.ErrorOf(Command::kWriteZeroes, 4096, 4096), WireError::kNone);
  EXPECT_EQ(ReadDevice(*memory, 4096, 4096), Bytes(4096));
  EXPECT_EQ(client.ErrorOf(Command::kTrim, 8192, 4096), WireError::kNone);
  EXPECT_EQ(ReadDevice(*memory, 8192, 4096), Bytes(4096));
  EXPECT_EQ(client.ErrorOf(Command::kCache, 0, kSize), WireError::kNone);
  EXPECT_EQ(client.ErrorOf(Command::kFlush, 0, 0), WireError::kNone);
  EXPECT_EQ(ReadDevice(*memory, 0, 4096), Bytes(data.begin(), data.begin() + 4096));
  EXPECT_EQ(ReadDevice(*memory, 12288, 4096), Bytes(data.begin() + 12288, data.end()));
}

TEST_P(TransmissionTest, WritesZerosThatLeaveNoHole) {
  auto device = NewMemoryDevice(kSize);
  Pair pair(device, session());
  constexpr uint32_t kLength = (3 << 20) + 5;
  ASSERT_EQ(pair.client().ErrorOf(Command::kWrite, 7, kLength, 0, Pattern(kLength, 1)), WireError::kNone);
  EXPECT_EQ(pair.client().ErrorOf(Command::kWriteZeroes, 7, kLength, kCommandFlagNoHole | kCommandFlagFua),
            WireError::kNone);
  EXPECT_EQ(ReadDevice(*device, 0, kLength + 20), Bytes(kLength + 20));
  // Writing is not fast, and nothing may be changed when that is what was asked for.
  ASSERT_EQ(pair.client().ErrorOf(Command::kWrite, 0, 512, 0, Pattern(512, 2)), WireError::kNone);
  EXPECT_EQ(pair.client().ErrorOf(Command::kWriteZeroes, 0, 512, kCommandFlagNoHole | kCommandFlagFastZero),
            WireError::kNotSupported);
  EXPECT_EQ(ReadDevice(*device, 0, 512), Pattern(512, 2));
  EXPECT_EQ(pair.client().ErrorOf(Command::kWriteZeroes, 0, 512, kCommandFlagFastZero), WireError::kNone);
  EXPECT_EQ(ReadDevice(*device, 0, 512), Bytes(512));
}

TEST_P(TransmissionTest, MakesDurableWhatItSaysIsDurable) {
  auto memory = NewMemoryDevice(kSize);
  auto device = std::make_shared<FaultyDevice>(memory, FaultyDevice::Cache::kVolatile);
  {
    Pair pair(device, session());
    RawClient& client = pair.client();
    const auto write = [&](uint64_t offset, uint16_t flags) {
      ASSERT_EQ(client.ErrorOf(Command::kWrite, offset, 4096, flags, Pattern(4096, offset)), WireError::kNone);
    };
    write(0, 0);
    write(4096, 0);
    ASSERT_EQ(client.ErrorOf(Command::kWriteZeroes, 0, 4096), WireError::kNone);
    ASSERT_EQ(client.ErrorOf(Command::kFlush, 0, 0), WireError::kNone);
    write(8192, kCommandFlagFua);
    ASSERT_EQ(client.ErrorOf(Command::kTrim, 4096, 4096, kCommandFlagFua), WireError::kNone);
    write(12288, 0);
  }
  ASSERT_TRUE(device->Crash().ok());
  EXPECT_EQ(ReadDevice(*memory, 0, 4096), Bytes(4096));
  EXPECT_EQ(ReadDevice(*memory, 4096, 4096), Bytes(4096));
  EXPECT_EQ(ReadDevice(*memory, 8192, 4096), Pattern(4096, 8192));
  EXPECT_EQ(ReadDevice(*memory, 12288, 4096), Bytes(4096));
}

TEST_P(TransmissionTest, TellsTheClientWhatTheDeviceSaid) {
  const std::pair<int, WireError> mapping[] = {{EIO, WireError::kIo},          {ENOSPC, WireError::kNoSpace},
                                               {EDQUOT, WireError::kNoSpace},  {EROFS, WireError::kPermission},
                                               {ENOMEM, WireError::kNoMemory}, {EINVAL, WireError::kInvalid},
                                               {ESTALE, WireError::kIo}};
  const Bytes data = Pattern(4096, 1);
  for (const auto& [error_number, wanted] : mapping) {
    auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kSize));
    device->Arm({.error_number = error_number});
    Pair pair(device, session());
    RawClient& client = pair.client();
    EXPECT_EQ(client.ErrorOf(Command::kRead, 0, 4096), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kRead, 0, 1 << 20), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 4096, 0, data), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 4096, kCommandFlagFua, data), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kWriteZeroes, 0, 4096), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kWriteZeroes, 0, 4096, kCommandFlagNoHole), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kTrim, 0, 4096), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kCache, 0, 4096), wanted);
    EXPECT_EQ(client.ErrorOf(Command::kFlush, 0, 0), wanted);
    device->Disarm();
    EXPECT_EQ(client.ErrorOf(Command::kRead, 0, 4096), WireError::kNone);
  }
}

TEST_P(TransmissionTest, ReportsAFlushThatFailsAfterATrim) {
  auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kSize));
  device->Arm({.kind = OperationKind::kFlush, .error_number = EIO});
  Pair pair(device, session());
  EXPECT_EQ(pair.client().ErrorOf(Command::kTrim, 0, 4096), WireError::kNone);
  EXPECT_EQ(pair.client().ErrorOf(Command::kTrim, 0, 4096, kCommandFlagFua), WireError::kIo);
  EXPECT_EQ(pair.client().ErrorOf(Command::kWriteZeroes, 0, 4096, kCommandFlagNoHole | kCommandFlagFua),
            WireError::kIo);
}

TEST(StructuredTest, ErrorsSayWhy) {
  auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kSize));
  device->Arm({.error_number = EIO});
  Pair pair(device, kStructured);
  auto reply = pair.client().Call(Command::kRead, 8192, 4096);
  ASSERT_TRUE(reply && reply->structured);
  EXPECT_NE(reply->message.find("8192"), std::string::npos) << reply->message;
  reply = pair.client().Call(Command::kRead, kSize, 1);
  ASSERT_TRUE(reply && reply->structured);
  EXPECT_EQ(reply->message, "the range ends beyond the export");
}

TEST(StructuredTest, MapsTheAllocation) {
  auto device = NewMemoryDevice(kSize);
  ASSERT_TRUE(device->Write(8192, Pattern(4096, 1)).ok());
  ASSERT_TRUE(device->Write(65536, Pattern(8192, 1)).ok());
  Pair pair(device, kStructured);
  auto reply = pair.client().Call(Command::kBlockStatus, 0, 1 << 20);
  ASSERT_TRUE(reply.has_value());
  ASSERT_EQ(reply->contexts[kBaseAllocationId].size(), 5u);
  const uint32_t lengths[] = {8192, 4096, 53248, 8192, (1 << 20) - 73728};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(reply->contexts[kBaseAllocationId][i].length_bytes, lengths[i]);
    EXPECT_EQ((reply->contexts[kBaseAllocationId][i].state & kStateZero) != 0, i % 2 == 0);
  }
  reply = pair.client().Call(Command::kBlockStatus, 8192 + 100, 1 << 20, kCommandFlagReqOne);
  ASSERT_TRUE(reply.has_value());
  ASSERT_EQ(reply->contexts[kBaseAllocationId].size(), 1u);
  EXPECT_EQ(reply->contexts[kBaseAllocationId][0].length_bytes, 4096u - 100);
  EXPECT_EQ(reply->contexts[kBaseAllocationId][0].state, 0u);
}

TEST(StructuredTest, MapsFourGigabytesAtOnce) {
  constexpr uint64_t kHuge = uint64_t{1} << 40;
  Pair pair(ZeroDevice::Create(kHuge).value(),
            {.size_bytes = kHuge, .structured_replies = true, .base_allocation = true});
  auto reply = pair.client().Call(Command::kBlockStatus, kHuge - UINT32_MAX, UINT32_MAX);
  ASSERT_TRUE(reply.has_value());
  ASSERT_EQ(reply->contexts[kBaseAllocationId].size(), 1u);
  EXPECT_EQ(reply->contexts[kBaseAllocationId][0].length_bytes, UINT32_MAX);
}

TEST_P(TransmissionTest, RefusesAndGoesOn) {
  auto device = NewMemoryDevice(kSize);
  Pair pair(device, session());
  RawClient& client = pair.client();
  const Bytes data = Pattern(8192, 3);
  EXPECT_EQ(client.ErrorOf(Command::kRead, kSize - 1, 2), WireError::kInvalid);
  EXPECT_EQ(client.ErrorOf(Command::kRead, UINT64_MAX, 4096), WireError::kInvalid);
  EXPECT_EQ(client.ErrorOf(Command::kWrite, kSize - 1, 8192, 0, data), WireError::kNoSpace);
  EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 8192, 1 << 9, data), WireError::kInvalid);
  EXPECT_EQ(client.ErrorOf(static_cast<Command>(77), 0, 0), WireError::kInvalid);
  EXPECT_EQ(client.ErrorOf(Command::kRead, 0, kMaxPayloadBytes + 1),
            GetParam() ? WireError::kOverflow : WireError::kInvalid);
  // The payload of a WRITE that is too long is taken and dropped.
  const Bytes long_data(kMaxPayloadBytes + 4096);
  EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, static_cast<uint32_t>(long_data.size()), 0, long_data),
            WireError::kInvalid);
  EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 8192, 0, data), WireError::kNone);
  EXPECT_EQ(ReadDevice(*device, 0, 8192), data);
}

// libnbd takes an answer to a request that it has not sent in whole for one to nothing.
TEST_P(TransmissionTest, RefusesAWriteOnlyWhenAllOfItHasArrived) {
  Pair pair(NewMemoryDevice(kSize), session());
  RawClient& client = pair.client();
  const Bytes data = Pattern(100000, 1);
  ASSERT_TRUE(client.Send(RequestBytes(Command::kWrite, 1, kSize - 1, 100000)));
  ASSERT_TRUE(client.Send(std::span(data).first(99999)));
  std::byte unexpected;
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(::recv(client.fd(), &unexpected, 1, MSG_DONTWAIT), -1);
  ASSERT_TRUE(client.Send(std::span(data).last(1)));
  const auto reply = client.ReceiveReply();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->error, WireError::kNoSpace);
  EXPECT_EQ(client.ErrorOf(Command::kFlush, 0, 0), WireError::kNone);
}

TEST(ConnectionTest, KeepsAReadOnlyExportAsItIs) {
  auto device = NewMemoryDevice(kSize);
  Pair pair(device, {.size_bytes = kSize, .read_only = true});
  const Bytes data = Pattern(4096, 3);
  EXPECT_EQ(pair.client().ErrorOf(Command::kWrite, 0, 4096, 0, data), WireError::kPermission);
  EXPECT_EQ(pair.client().ErrorOf(Command::kTrim, 0, 4096), WireError::kPermission);
  EXPECT_EQ(pair.client().ErrorOf(Command::kWriteZeroes, 0, 4096), WireError::kPermission);
  EXPECT_EQ(pair.client().ErrorOf(Command::kFlush, 0, 0), WireError::kNone);
  EXPECT_EQ(ReadDevice(*device, 0, 4096), Bytes(4096));
}

// A device whose flushes wait: until Open, or until so many of them wait at once.
class GateDevice final : public Device {
 public:
  explicit GateDevice(int opens_at) : opens_at_(opens_at) {}

  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

  std::string name() const override { return "gate"; }
  uint64_t size_bytes() const override { return kSize; }
  uint32_t block_size() const override { return 4096; }
  bool writable() const override { return true; }
  Status Flush() override {
    std::unique_lock lock(mutex_);
    open_ = open_ || ++waiting_ == opens_at_;
    changed_.notify_all();
    const bool opened = changed_.wait_for(lock, 60s, [this] { return open_; });
    return opened ? Status::Ok() : Status::Errno("flush", name(), ETIMEDOUT);
  }

 protected:
  Status DoRead(uint64_t, std::span<std::byte>) override { return Status::Ok(); }
  Status DoWrite(uint64_t, std::span<const std::byte>, Durability) override { return Status::Ok(); }
  Status DoZero(Range, Durability) override { return Status::Ok(); }
  Status DoTrim(Range) override { return Status::Ok(); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t) override { return std::vector<Extent>{{range}}; }

 private:
  const int opens_at_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

TEST(ConnectionTest, AnswersQuickRequestsBeforeSlowOnes) {
  auto device = std::make_shared<GateDevice>(2);
  Pair pair(device, kSimple);
  ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kFlush, 1, 0, 0)));
  ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kTrim, 2, 0, 4096)));
  EXPECT_EQ(pair.client().ReceiveReply().value().cookie, 2u);
  device->Open();
  EXPECT_EQ(pair.client().ReceiveReply().value().cookie, 1u);
}

TEST(ConnectionTest, RunsSlowOperationsSideBySide) {
  Pair pair(std::make_shared<GateDevice>(Pair::kWorkers), kSimple);
  std::set<uint64_t> cookies;
  for (uint64_t i = 0; i < 2 * Pair::kWorkers; ++i) {
    ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kFlush, i, 0, 0)));
  }
  for (uint64_t i = 0; i < 2 * Pair::kWorkers; ++i) {
    const auto reply = pair.client().ReceiveReply();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->error, WireError::kNone);
    cookies.insert(reply->cookie);
  }
  EXPECT_EQ(cookies.size(), 2u * Pair::kWorkers);
}

TEST(ConnectionTest, HangsUpOnAWrongMagicAfterAnsweringTheRequestsBefore) {
  auto device = NewMemoryDevice(kSize);
  Pair pair(device, kSimple);
  Bytes bytes;
  for (uint64_t cookie = 0; cookie < 10; ++cookie) {
    const Bytes request = RequestBytes(Command::kWriteZeroes, cookie, cookie * 4096, 4096);
    bytes.insert(bytes.end(), request.begin(), request.end());
  }
  bytes.resize(bytes.size() + sizeof(RequestHeader), std::byte{0x55});
  ASSERT_TRUE(pair.client().Send(bytes));
  for (uint64_t cookie = 0; cookie < 10; ++cookie) {
    const auto reply = pair.client().ReceiveReply();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->cookie, cookie);
  }
  EXPECT_TRUE(pair.client().AtEnd());
}

TEST(ConnectionTest, EndsOnDisconnectAfterWhatIsUnderWay) {
  auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kSize));
  device->Arm({.kind = OperationKind::kFlush, .delay = 100ms});
  Pair pair(device, kSimple);
  ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kFlush, 1, 0, 0)));
  ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kDisconnect, 2, 0, 0)));
  const auto reply = pair.client().ReceiveReply();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->cookie, 1u);
  EXPECT_TRUE(pair.client().AtEnd());
  pair.Join();
}

TEST(ConnectionTest, DropsAWriteWhosePayloadNeverComesWhole) {
  auto device = NewMemoryDevice(kSize);
  for (const size_t sent : {size_t{0}, size_t{1}, size_t{4095}, size_t{100000}}) {
    Pair pair(device, kSimple);
    ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kWrite, 1, 0, 100001)));
    ASSERT_TRUE(pair.client().Send(Pattern(sent, 1)));
    pair.client().ShutdownSending();
    EXPECT_TRUE(pair.client().AtEnd());
    pair.Join();
    EXPECT_EQ(ReadDevice(*device, 0, 100001), Bytes(100001));
  }
}

TEST(ConnectionTest, AnswersAClientThatOnlyShutsItsSendingSide) {
  auto device = NewMemoryDevice(kSize);
  Pair pair(device, kSimple);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kRead, i, i * 8192, 8192)));
  pair.client().ShutdownSending();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(pair.client().ReceiveReply(8192).has_value());
  EXPECT_TRUE(pair.client().AtEnd());
}

TEST(ConnectionTest, StopsReadingFromAClientThatTakesNoAnswers) {
  Pair pair(NewMemoryDevice(kSize), kSimple);
  // Were there no limit, this could go on for ever, with 32 MiB of answer each time.
  size_t sent = 0;
  pollfd entry{.fd = pair.client().fd(), .events = POLLOUT, .revents = 0};
  while (sent < 1000000 && ::poll(&entry, 1, 500) == 1) {
    ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kRead, sent++, 0, kMaxPayloadBytes)));
  }
  ASSERT_LT(sent, 1000000u);
  // It takes them now: all that was asked for comes.
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(pair.client().ReceiveReply(kMaxPayloadBytes).has_value());
}

TEST(ConnectionTest, StopEndsWithAClientThatTakesNoAnswers) {
  Pair pair(NewMemoryDevice(kSize), kSimple);
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kRead, i, 0, 8 << 20)));
  std::this_thread::sleep_for(100ms);
  pair.connection().Stop();
  pair.Join();
}

TEST(ConnectionTest, StopCarriesOutWhatHasArrived) {
  auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kSize));
  device->Arm({.kind = OperationKind::kTrim, .delay = 20ms});
  Pair pair(device, kSimple);
  for (uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(pair.client().Send(RequestBytes(Command::kTrim, i, 0, 4096)));
  pair.connection().Stop();
  int answers = 0;
  while (pair.client().ReceiveReply().has_value()) ++answers;
  EXPECT_EQ(answers, 20);
  pair.Join();
}

TEST(ConnectionTest, TakesRequestsInPiecesOfAnySize) {
  auto device = NewMemoryDevice(kSize);
  Pair pair(device, kSimple);
  Bytes stream;
  for (uint64_t i = 0; i < 4; ++i) {
    const Bytes request = RequestBytes(Command::kWrite, i, i * 333, 333);
    const Bytes data = Pattern(333, i);
    stream.insert(stream.end(), request.begin(), request.end());
    stream.insert(stream.end(), data.begin(), data.end());
  }
  for (size_t piece = 1; piece <= stream.size(); piece += piece / 4 + 1) {
    for (size_t at = 0; at < stream.size(); at += piece) {
      ASSERT_TRUE(pair.client().Send(std::span(stream).subspan(at, std::min(piece, stream.size() - at))));
    }
    for (int i = 0; i < 4; ++i) ASSERT_EQ(pair.client().ReceiveReply().value().error, WireError::kNone);
    for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(ReadDevice(*device, i * 333, 333), Pattern(333, i));
    ASSERT_TRUE(device->Zero({0, 4096}).ok());
  }
}

TEST(ConnectionTest, CountsWhatItDid) {
  Pair pair(NewMemoryDevice(kSize), kSimple);
  RawClient& client = pair.client();
  client.ErrorOf(Command::kWrite, 0, 4096, 0, Pattern(4096, 1));
  client.ErrorOf(Command::kRead, 0, 100000);
  client.ErrorOf(Command::kRead, 0, 512);
  client.ErrorOf(Command::kWriteZeroes, 0, 512);
  client.ErrorOf(Command::kTrim, 0, 512);
  client.ErrorOf(Command::kFlush, 0, 0);
  client.ErrorOf(Command::kRead, kSize, 512);
  Counts counts;
  pair.connection().counters().AddTo(counts);
  EXPECT_EQ(counts.read_count, 2u);
  EXPECT_EQ(counts.read_bytes, 100512u);
  EXPECT_EQ(counts.write_count, 1u);
  EXPECT_EQ(counts.write_bytes, 4096u);
  EXPECT_EQ(counts.zero_count, 1u);
  EXPECT_EQ(counts.trim_count, 1u);
  EXPECT_EQ(counts.flush_count, 1u);
  EXPECT_EQ(counts.error_count, 1u);
}

}  // namespace
}  // namespace rootloom::nbd
